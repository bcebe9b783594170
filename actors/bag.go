package actors

import "slices"

// bag is a few things in no order: less memory and time than a map as long as
// there are not thousands. What it keeps while it is empty is small.
type bag[T comparable] []T

func (b *bag[T]) add(v T) { *b = append(*b, v) }

func (b bag[T]) has(v T) bool { return slices.Contains(b, v) }

// remove is false if v is not there.
func (b *bag[T]) remove(v T) bool {
	i := slices.Index(*b, v)
	if i < 0 {
		return false
	}
	if *b = slices.Delete(*b, i, i+1); len(*b) == 0 && cap(*b) > 8 {
		*b = nil
	}
	return true
}
