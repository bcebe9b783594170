package client

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPartOfTreeIsDrawn(t *testing.T) {
	got := Branches([]string{"field/a", "field/a/b", "field/a/b/c", "field/a/d"}, "plant")
	want := []string{"field/a", "├─ b", "│  └─ c", "└─ d"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOrderOfTree(t *testing.T) {
	want := []string{"root", "bus", "config", "drill", "a", "a/m-2", "a/m-2/x", "a/m-10", "b", "bus-2"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, ComparePaths)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

var path = rapid.Custom(func(t *rapid.T) string {
	return strings.Join(rapid.SliceOfN(rapid.StringMatching(`[ab]?[0-9]{1,3}-?|bus|root`), 1, 4).Draw(t, "tokens"), "/")
})

// The order is total, and a group always comes right before its members.
func TestOrderIsTotal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := path.Draw(t, "a"), path.Draw(t, "b"), path.Draw(t, "c")
		if ComparePaths(a, b) != -ComparePaths(b, a) {
			t.Fatalf("%s and %s: %d and %d", a, b, ComparePaths(a, b), ComparePaths(b, a))
		}
		if ComparePaths(a, b) <= 0 && ComparePaths(b, c) <= 0 && ComparePaths(a, c) > 0 {
			t.Fatalf("%s <= %s <= %s, but not the ends", a, b, c)
		}
		if ComparePaths(a, a+"/"+b) >= 0 {
			t.Fatalf("%s is not before what is in it", a)
		}
	})
}
