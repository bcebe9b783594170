package points

import (
	"fmt"
	"slices"
	"strings"
)

// Sequence returns the order in which derived points must be computed, as indices of names, so that
// each follows those it uses. An error names a cycle.
func Sequence(names []string, uses func(i int) []string) ([]int, error) {
	var order []int
	state := make([]int, len(names)) // 1: being visited, 2: done
	var visit func(i int, path []string) error
	visit = func(i int, path []string) error {
		path = append(path, names[i])
		switch state[i] {
		case 1:
			return fmt.Errorf("points are computed from each other in a cycle: %s", strings.Join(path, " from "))
		case 2:
			return nil
		}
		state[i] = 1
		for _, name := range uses(i) {
			if k := slices.Index(names, name); k >= 0 {
				if err := visit(k, path); err != nil {
					return err
				}
			}
		}
		state[i] = 2
		order = append(order, i)
		return nil
	}
	for i := range names {
		if err := visit(i, nil); err != nil {
			return nil, err
		}
	}
	return order, nil
}
