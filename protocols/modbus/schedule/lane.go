package schedule

import "slices"

// lane holds the items of one class: a short list for each unit, by when they are due, and the units that have any in the order of their turns.
type lane[P any] struct {
	bound  int
	size   int
	turns  []uint8
	byUnit map[uint8][]Item[P]
}

func (l *lane[P]) push(item Item[P]) (verdict Verdict, replaced Item[P]) {
	items := l.byUnit[item.Unit]
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
	if l.byUnit == nil {
		l.byUnit = map[uint8][]Item[P]{}
	}
	at := len(items)
	for at > 0 && items[at-1].Due > item.Due {
		at--
	}
	l.byUnit[item.Unit] = slices.Insert(items, at, item)
	l.size++
	return Queued, replaced
}

func (l *lane[P]) any(free func(uint8) bool) bool { return slices.ContainsFunc(l.turns, free) }

// take removes the item that is due first of all free units, of those that are due together that of the first unit, which goes to the end
// of the turns. There must be one.
func (l *lane[P]) take(free func(uint8) bool) Item[P] {
	i := -1
	for k, id := range l.turns {
		if due := l.byUnit[id][0].Due; (i < 0 || due < l.byUnit[l.turns[i]][0].Due) && free(id) {
			if i = k; due == 0 {
				break // none is due earlier
			}
		}
	}
	id := l.turns[i]
	l.turns = slices.Delete(l.turns, i, i+1)
	items := l.byUnit[id]
	item := items[0]
	items = slices.Delete(items, 0, 1)
	l.size--
	if len(items) == 0 {
		delete(l.byUnit, id)
		return item
	}
	l.byUnit[id] = items
	l.turns = append(l.turns, id)
	return item
}

// remove takes out what matches; units keep their turns.
func (l *lane[P]) remove(match func(Item[P]) bool) []Item[P] {
	var gone []Item[P]
	for _, id := range slices.Clone(l.turns) {
		items := slices.DeleteFunc(l.byUnit[id], func(item Item[P]) bool {
			if !match(item) {
				return false
			}
			gone = append(gone, item)
			return true
		})
		l.byUnit[id] = items
		if len(items) == 0 {
			delete(l.byUnit, id)
			l.turns = slices.DeleteFunc(l.turns, func(u uint8) bool { return u == id })
		}
	}
	l.size -= len(gone)
	return gone
}
