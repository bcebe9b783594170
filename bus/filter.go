package bus

import (
	"fmt"
	"strings"
)

// A consumer may have several filters only if they do not overlap. A filter that another one covers
// is therefore left out. Two filters that overlap without one covering the other are an error,
// which the author of the config must resolve.

// CheckTracks reports what is wrong with filters of track paths such as tracks/+ or #.
func CheckTracks(filters []string) error {
	_, err := trackPatterns("gateway", filters)
	return err
}

// trackPatterns returns the NATS patterns of filters. No two of them match the same subject.
func trackPatterns(gateway string, filters []string) (patterns []string, err error) {
	var all []string // the filters of patterns, by index
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
				return nil, fmt.Errorf("%q and %q match some tracks twice: write %q for all of them, or filters that do not overlap", all[i], f, both(all[i], f))
			}
			apart, kept = append(apart, other), append(kept, all[i])
		}
		if patterns, all = apart, kept; !covered {
			patterns, all = append(patterns, p), append(all, f)
		}
	}
	return patterns, nil
}

// covers reports whether the pattern wide matches everything that narrow matches.
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

// overlap reports whether some subject may match both patterns.
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

// both returns a filter that covers two overlapping ones.
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
