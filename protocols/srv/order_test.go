package srv

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Two targets of weights 1 and 3: of the five possible draws one is 0, which selects the first in
// the list.
func TestOrderByWeight(t *testing.T) {
	first := map[string]int{}
	for n := range uint64(5) {
		targets := []Target{{Host: "c", Priority: 2, Weight: 9}, {Host: "a", Priority: 1, Weight: 1}, {Host: "b", Priority: 1, Weight: 3}}
		draws := 0
		order(targets, func(below uint64) uint64 {
			if draws++; draws == 1 {
				if below != 5 {
					t.Fatalf("a draw below %d", below)
				}
				return n
			}
			return 0
		})
		first[targets[0].Host]++
		if targets[2].Host != "c" {
			t.Errorf("the one of priority 2 comes %v", targets)
		}
	}
	if first["a"] != 2 || first["b"] != 3 {
		t.Errorf("first were %v", first)
	}
}

// A target of weight 0 beside others is first only if the draw is 0.
func TestOrderWeightZero(t *testing.T) {
	for n, want := range []string{"zero", "heavy", "heavy"} {
		targets := []Target{{Host: "heavy", Weight: 2}, {Host: "zero"}}
		order(targets, func(below uint64) uint64 { return min(uint64(n), below-1) })
		if targets[0].Host != want {
			t.Errorf("draw %d: %s is first", n, targets[0].Host)
		}
	}
}

func TestOrderKeepsAllAndPriorities(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		targets := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Target {
			return Target{
				Host: rapid.String().Draw(t, "host"), Priority: rapid.Uint16Range(0, 3).Draw(t, "priority"),
				Weight: rapid.OneOf(rapid.Just(uint16(0)), rapid.Uint16()).Draw(t, "weight"),
			}
		}), 0, 12).Draw(t, "targets")
		before := map[string]int{}
		for _, x := range targets {
			before[x.Host]++
		}
		order(targets, func(n uint64) uint64 { return rapid.Uint64Range(0, n-1).Draw(t, "draw") })
		for _, x := range targets {
			before[x.Host]--
		}
		for host, n := range before {
			if n != 0 {
				t.Fatalf("%q: %d too few", host, n)
			}
		}
		if !slices.IsSortedFunc(targets, func(a, b Target) int { return int(a.Priority) - int(b.Priority) }) {
			t.Fatalf("priorities out of order: %v", targets)
		}
	})
}

func TestALongListIsCutToSomeOfEachPriority(t *testing.T) {
	var all []Target
	for i := range 100 {
		all = append(all, Target{Port: uint16(i), Priority: uint16(i / 45)})
	}
	got := cut(all)
	if len(got) != maxTargets || got[0].Port != 0 || got[29].Port != 29 || got[30].Port != 45 || got[31].Port != 90 {
		t.Errorf("%d are left: %v", len(got), got)
	}
	all = all[:0]
	for i := range 100 {
		all = append(all, Target{Port: uint16(i), Priority: uint16(i)})
	}
	if got := cut(all); len(got) != maxTargets || got[31].Port != 31 {
		t.Errorf("%d are left: %v", len(got), got)
	}
	if got := cut(all[:5]); len(got) != 5 {
		t.Error(got)
	}
}
