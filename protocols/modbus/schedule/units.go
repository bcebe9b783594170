package schedule

import "slices"

// Units holds a value for each unit that has one. There are usually few units, but thousands of
// links: a map would take half a kilobyte for each link.
type Units[V any] struct {
	ids []uint8 // sorted
	all []V
}

// Of returns a pointer to the value of a unit, or nil if it has none. It is valid until the next
// Make.
func (u *Units[V]) Of(id uint8) *V {
	if i, ok := slices.BinarySearch(u.ids, id); ok {
		return &u.all[i]
	}
	return nil
}

// Make returns a pointer to the value of a unit, which it creates as the zero value if necessary.
func (u *Units[V]) Make(id uint8) *V {
	i, ok := slices.BinarySearch(u.ids, id)
	if !ok {
		var zero V
		u.ids, u.all = slices.Insert(u.ids, i, id), slices.Insert(u.all, i, zero)
	}
	return &u.all[i]
}

// All returns all values, in the order of the units.
func (u *Units[V]) All() []V { return u.all }
