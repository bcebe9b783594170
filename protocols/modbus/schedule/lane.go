package schedule

import "slices"

// lane holds the items of one class: a short list for each unit, ordered by due time, and the units
// that have items in the order of their turns.
type lane[P any] struct {
	bound  int
	size   int
	turns  []uint8
	byUnit Units[[]Item[P]]
}

func (l *lane[P]) push(item Item[P]) (verdict Verdict, replaced Item[P]) {
	waiting := l.byUnit.Make(item.Unit)
	items := *waiting
	if item.Key != "" && item.Class >= Poll {
		for i := range items {
			if items[i].Key == item.Key {
				replaced, items[i] = items[i], item
				return Merged, replaced
			}
		}
	}
	if l.size >= l.bound {
		return Refused, replaced
	}
	if len(items) == 0 {
		l.turns = append(l.turns, item.Unit)
	}
	at := len(items)
	for at > 0 && items[at-1].Due > item.Due {
		at--
	}
	*waiting = slices.Insert(items, at, item)
	l.size++
	return Queued, replaced
}

func (l *lane[P]) any(free func(uint8) bool) bool { return slices.ContainsFunc(l.turns, free) }

// take removes the item with the earliest due time among all units that are free. Among equal ones
// it takes that of the first unit in turn, and moves the unit to the end of the turns. There must
// be one.
func (l *lane[P]) take(free func(uint8) bool) Item[P] {
	i := -1
	for k, id := range l.turns {
		if due := l.first(id).Due; (i < 0 || due < l.first(l.turns[i]).Due) && free(id) {
			if i = k; due == 0 {
				break // none is due earlier
			}
		}
	}
	id := l.turns[i]
	l.turns = slices.Delete(l.turns, i, i+1)
	item := *l.first(id)
	l.size--
	if l.keep(id, slices.Delete(*l.byUnit.Of(id), 0, 1)) {
		l.turns = append(l.turns, id)
	}
	return item
}

func (l *lane[P]) first(id uint8) *Item[P] { return &(*l.byUnit.Of(id))[0] }

// kept is the capacity up to which a unit without items keeps its slice.
const kept = 4

// keep stores the remaining items of a unit and reports whether there are any.
func (l *lane[P]) keep(id uint8, items []Item[P]) bool {
	if len(items) == 0 && cap(items) > kept {
		items = nil
	}
	*l.byUnit.Of(id) = items
	return len(items) > 0
}

// remove removes the items that match. Units keep their turns.
func (l *lane[P]) remove(match func(Item[P]) bool) []Item[P] {
	var gone []Item[P]
	for _, id := range slices.Clone(l.turns) {
		items := slices.DeleteFunc(*l.byUnit.Of(id), func(item Item[P]) bool {
			if !match(item) {
				return false
			}
			gone = append(gone, item)
			return true
		})
		if !l.keep(id, items) {
			l.turns = slices.DeleteFunc(l.turns, func(u uint8) bool { return u == id })
		}
	}
	l.size -= len(gone)
	return gone
}
