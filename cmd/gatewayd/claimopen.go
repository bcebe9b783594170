package main

import (
	"regexp"
	"strings"
)

// loopback is an address and port that only the gateway itself reaches.
const loopback = `(?:127\.[0-9.]+|localhost|\[::1\])(:[0-9]+["'])`

// openTable has the door whose table begins and ends there listen on all addresses where it has listened on the gateway alone. Its
// further doors too, in tables of their own or inline, but for those that are not encrypted.
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

// tableName is the name in a line that begins a table, or one of several; empty: it begins none.
func tableName(line string) string {
	name, ok := strings.CutPrefix(strings.TrimSpace(line), "[")
	if !ok {
		return ""
	}
	name, _, _ = strings.Cut(strings.TrimPrefix(name, "["), "]")
	return strings.TrimSpace(name)
}
