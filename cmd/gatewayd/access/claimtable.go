package access

import (
	"regexp"
	"strings"
)

// loopback matches the rest of a quoted listen address that only the gateway itself reaches, after
// the opening quote.
const loopback = `(?:127\.[0-9.]+|localhost|\[::1\])(:[0-9]+["'])`

// openTable makes the door in lines first to last listen on all addresses instead of loopback only.
// The same goes for its further doors, in tables of their own or inline, unless they are
// unencrypted.
func openTable(doors []string, first, last int) {
	inline := regexp.MustCompile(`\{[^{}]*\}`)
	name := tableName(doors[first])
	for i := first; i < last; i++ {
		doors[i] = openLine(inline.ReplaceAllStringFunc(doors[i], func(door string) string {
			if notEncrypted(door) {
				return door
			}
			return regexp.MustCompile(`(listen\s*=\s*["'])`+loopback).ReplaceAllString(door, "${1}0.0.0.0$2")
		}))
	}
	for i, line := range doors {
		if name == "" || tableName(line) != name+".doors" {
			continue
		}
		from, to := tableOf(doors, i)
		if notEncrypted(strings.Join(doors[from:to], "\n")) {
			continue
		}
		for j := from; j < to; j++ {
			doors[j] = openLine(doors[j])
		}
	}
}

func openLine(line string) string {
	return regexp.MustCompile(`^(\s*listen\s*=\s*["'])`+loopback).ReplaceAllString(line, "${1}0.0.0.0$2")
}

func notEncrypted(door string) bool {
	return regexp.MustCompile(`(?m)(?:^|[{,])\s*plain\s*=\s*true`).MatchString(door)
}

// tableName returns the name in a line that begins a table or an element of an array of tables;
// empty for any other line.
func tableName(line string) string {
	name, ok := strings.CutPrefix(strings.TrimSpace(line), "[")
	if !ok {
		return ""
	}
	name, _, _ = strings.Cut(strings.TrimPrefix(name, "["), "]")
	return strings.TrimSpace(name)
}

// tableOf returns the first line of the table that contains line i, and the line after its last.
func tableOf(lines []string, i int) (first, last int) {
	first, last = i, i+1
	for first > 0 && !strings.HasPrefix(strings.TrimSpace(lines[first]), "[") {
		first--
	}
	for last < len(lines) && !strings.HasPrefix(strings.TrimSpace(lines[last]), "[") {
		last++
	}
	return first, last
}

// keysOfTable returns the keys of a table, including the names of tables below it.
func keysOfTable(lines []string, first, last int) map[string]bool {
	has := map[string]bool{}
	for _, line := range lines[first:last] {
		key, _, _ := strings.Cut(line, "=")
		has[strings.TrimSpace(key)] = true
	}
	table := tableName(lines[first])
	for _, line := range lines {
		if below, ok := strings.CutPrefix(tableName(line), table+"."); ok {
			has[below] = true
		}
	}
	return has
}
