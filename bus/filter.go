package bus

import (
	"fmt"
	"strings"
)

// Several filters of tracks. A server reads by several only if it never finds a message by two of them, so one that another covers is left out; where
// each picks tracks that the other does not, that is for whoever wrote them to settle.

// CheckTracks says what is wrong with filters of paths of tracks like tracks/+ or #.
func CheckTracks(filters []string) error {
	_, err := trackPatterns("gateway", filters)
	return err
}

// trackPatterns are the patterns that filters come to. No two of them have a subject in common.
func trackPatterns(gateway string, filters []string) (patterns []string, err error) {
	var all []string // the filters of patterns
	for _, f := range filters {
		p, err := trackPattern(gateway, f)
		if err != nil {
			return nil, err
		}
		var apart, kept []string
		covered := false
		for i, other := range patterns {
			switch {
			case covers(other, p):
				covered = true
			case covers(p, other):
				continue
			case overlap(other, p):
				return nil, fmt.Errorf("%q and %q pick some tracks both: write %q for all of them, or filters that have none in common", all[i], f, both(all[i], f))
			}
			apart, kept = append(apart, other), append(kept, all[i])
		}
		if patterns, all = apart, kept; !covered {
			patterns, all = append(patterns, p), append(all, f)
		}
	}
	return patterns, nil
}

// covers tells whether a pattern picks everything that another one does.
func covers(wide, narrow string) bool {
	w, n := strings.Split(wide, "."), strings.Split(narrow, ".")
	for i, tok := range w {
		switch {
		case i >= len(n):
			return false
		case tok == ">":
			return true
		case tok != n[i] && (tok != "*" || n[i] == ">"):
			return false
		}
	}
	return len(w) == len(n)
}

// overlap tells whether a subject may be picked by both patterns.
func overlap(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		switch {
		case x[i] == ">" || y[i] == ">":
			return true
		case x[i] != y[i] && x[i] != "*" && y[i] != "*":
			return false
		}
	}
	return len(x) == len(y)
}

// both is a filter that covers two that overlap.
func both(a, b string) string {
	x, y := strings.Split(strings.Trim(a, "/"), "/"), strings.Split(strings.Trim(b, "/"), "/")
	for i := range min(len(x), len(y)) {
		switch {
		case x[i] == "#" || y[i] == "#":
			return strings.Join(append(x[:i], "#"), "/")
		case x[i] != y[i]:
			x[i] = "+"
		}
	}
	return strings.Join(x, "/")
}
