package schemas

import (
	"fmt"
	"strings"
)

// Nearest returns the name that was probably meant, or "" if none is similar. A name is not similar
// if more than about a third of it would have to change, unless one begins with the other.
func Nearest(name string, among []string) string {
	best, nearest := (max(len(name), 3)+2)/3+1, ""
	for _, a := range among {
		if a == "" {
			continue
		}
		if d := distance(strings.ToLower(name), a); d < best {
			best, nearest = d, a
		}
	}
	for _, a := range among {
		if nearest == "" && len(a) > 2 && len(name) > 2 && (strings.HasPrefix(name, a) || strings.HasPrefix(a, name)) {
			nearest = a
		}
	}
	return nearest
}

// DidYouMean returns `, did you mean "baud"?`, or "" if nothing is similar.
func DidYouMean(name string, among []string) string {
	if n := Nearest(name, among); n != "" {
		return fmt.Sprintf(", did you mean %q?", n)
	}
	return ""
}

// DidYouMeanPath is DidYouMean for paths of actors; it also finds a path with the same last token.
func DidYouMeanPath(name string, paths []string) string {
	if hint := DidYouMean(name, paths); hint != "" {
		return hint
	}
	last := name[strings.LastIndex(name, "/")+1:]
	for _, end := range []string{"/" + strings.Trim(name, "/"), "/" + last} {
		for _, p := range paths {
			if end != "/" && strings.HasSuffix(p, end) {
				return fmt.Sprintf(", did you mean %q?", p)
			}
		}
	}
	return ""
}

// Quoted returns names as `"a", "b" or "c"`.
func Quoted(names []string) string {
	var b strings.Builder
	for i, n := range names {
		switch {
		case i == 0:
		case i == len(names)-1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", n)
	}
	return b.String()
}

func listed(names []string) string {
	if len(names) == 0 {
		return ", which is empty"
	}
	return fmt.Sprintf(" (%s)", Quoted(names))
}

// distance counts insertions, deletions, substitutions and swaps of adjacent letters.
func distance(a, b string) int {
	if len(a) > 200 || len(b) > 200 {
		return max(len(a), len(b))
	}
	var before, above []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, above, row = above, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
