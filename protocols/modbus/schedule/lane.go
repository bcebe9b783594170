package schedule

import "slices"

// lane holds the items of one class: a short list for each unit, and the units that have any in the order of their turns.
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
	l.byUnit[item.Unit] = append(items, item)
	l.size++
	return Queued, replaced
}

func (l *lane[P]) any(free func(uint8) bool) bool { return slices.ContainsFunc(l.turns, free) }

// take removes the oldest item of the first free unit, which goes to the end of the turns. There must be one.
func (l *lane[P]) take(free func(uint8) bool) Item[P] {
	i := slices.IndexFunc(l.turns, free)
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
