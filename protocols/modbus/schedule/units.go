package schedule

import "slices"

// Units is a value for each unit that has one. They are few mostly, and of links there are thousands: a map would take half a kilobyte for
// each of them.
type Units[V any] struct {
	ids []uint8 // sorted
	all []V
}

// Of is the value of a unit, nil if it has none. It stays where it is until the next Make.
func (u *Units[V]) Of(id uint8) *V {
	if i, ok := slices.BinarySearch(u.ids, id); ok {
		return &u.all[i]
	}
	return nil
}

// Make is the value of a unit, the zero value if it had none.
func (u *Units[V]) Make(id uint8) *V {
	i, ok := slices.BinarySearch(u.ids, id)
	if !ok {
		var zero V
		u.ids, u.all = slices.Insert(u.ids, i, id), slices.Insert(u.all, i, zero)
	}
	return &u.all[i]
}

// All are the values there are, in the order of the units.
func (u *Units[V]) All() []V { return u.all }
