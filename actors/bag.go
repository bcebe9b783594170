package actors

import "slices"

// bag is a small unordered set. Below some thousand elements it takes less memory and time than a
// map. While it is empty it keeps room for at most eight.
type bag[T comparable] []T

func (b *bag[T]) add(v T) { *b = append(*b, v) }

func (b bag[T]) has(v T) bool { return slices.Contains(b, v) }

// remove returns false if v is not in the bag.
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
