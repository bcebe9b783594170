package main

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	"gatewayd/cmd/gatewayd/files"
	"gatewayd/supervisor"
)

// comparePaths puts the root first, what the gateway always has next, and then
// the others by name, numbers in names by their value.
func comparePaths(a, b string) int {
	as, bs := strings.Split(a, "/"), strings.Split(b, "/")
	for i := 0; i < len(as) && i < len(bs); i++ {
		if as[i] == bs[i] {
			continue
		}
		if i == 0 {
			if d := cmp.Compare(place(as[0]), place(bs[0])); d != 0 {
				return d
			}
		}
		return compareTokens(as[i], bs[i])
	}
	return cmp.Compare(len(as), len(bs))
}

func place(top string) int {
	if top == supervisor.Root {
		return 0
	}
	if i := slices.Index(files.Implicit, top); i >= 0 {
		return 1 + i
	}
	return 1 + len(files.Implicit)
}

// compareTokens compares names so that meter-2 comes before meter-10.
func compareTokens(a, b string) int {
	for a != "" && b != "" {
		x, y := digits(a), digits(b)
		if x > 0 && y > 0 {
			n, m := strings.TrimLeft(a[:x], "0"), strings.TrimLeft(b[:y], "0")
			if d := cmp.Or(cmp.Compare(len(n), len(m)), cmp.Compare(n, m)); d != 0 {
				return d
			}
			a, b = a[x:], b[y:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

// digits counts the digits s begins with.
func digits(s string) int {
	if n := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsDigit(r) }); n >= 0 {
		return n
	}
	return len(s)
}

// branches draws the tree: for each path, which stand in its order, the lines
// that lead to it and its last name.
func branches(paths []string, gateway string) []string {
	out := make([]string, len(paths))
	for i, path := range paths {
		if path == supervisor.Root {
			out[i] = gateway
			continue
		}
		depth := strings.Count(path, "/")
		base := 0
		if paths[0] != supervisor.Root {
			base = strings.Count(paths[0], "/") + 1
		}
		if depth < base {
			out[i] = path // the top of a part
			continue
		}
		var b strings.Builder
		for d := base; d <= depth; d++ {
			more := continues(paths[i+1:], path, d)
			switch {
			case d < depth && more:
				b.WriteString("│  ")
			case d < depth:
				b.WriteString("   ")
			case more:
				b.WriteString("├─ ")
			default:
				b.WriteString("└─ ")
			}
		}
		out[i] = b.String() + path[strings.LastIndexByte(path, '/')+1:]
	}
	return out
}

// continues reports whether a later path is a sibling of path's ancestor at
// this depth.
func continues(later []string, path string, depth int) bool {
	own := strings.Split(path, "/")[:depth+1]
	parent, self := strings.Join(own[:depth], "/"), strings.Join(own, "/")
	for _, p := range later {
		if p == self || strings.HasPrefix(p, self+"/") {
			continue
		}
		return parent == "" || strings.HasPrefix(p, parent+"/")
	}
	return false
}
