package access

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// rights are the patterns of all roles of an identity, split into levels.
type rights struct {
	allow, deny [][]string
}

func rightsOf(roles []string, known map[string]Role) (rights, error) {
	var r rights
	for _, name := range roles {
		role, ok := known[name]
		if !ok {
			return r, fmt.Errorf("there is no role %q", name)
		}
		for _, p := range role.Allow {
			r.allow = append(r.allow, strings.Split(p, "/"))
		}
		for _, p := range role.Deny {
			r.deny = append(r.deny, strings.Split(p, "/"))
		}
	}
	return r, nil
}

// May reports whether the topic may be used: called, if it is of class cmd, and otherwise
// subscribed to.
func (r rights) May(topic string) bool {
	return anyOf(r.allow, topic) && !anyOf(r.deny, topic)
}

// Patterns returns what the roles allow and deny, for callers that cannot ask about every topic.
func (r rights) Patterns() (allow, deny []string) { return joined(r.allow), joined(r.deny) }

func joined(patterns [][]string) []string {
	all := make([]string, len(patterns))
	for i, p := range patterns {
		all[i] = strings.Join(p, "/")
	}
	return all
}

func anyOf(patterns [][]string, topic string) bool {
	return slices.ContainsFunc(patterns, func(p []string) bool { return covers(p, topic) })
}

// MaySubscribe reports whether an MQTT filter may match a topic that may be used. Each message must
// still be checked with May: if part of what a filter matches is denied, the rest is delivered.
func (r rights) MaySubscribe(filter string) bool {
	f := strings.Split(filter, "/")
	within := func(p []string) bool { return contains(p, f) }
	return slices.ContainsFunc(r.allow, func(p []string) bool { return meet(p, f) }) && !slices.ContainsFunc(r.deny, within)
}

// Covers reports whether a pattern matches a topic.
func Covers(pattern, topic string) bool { return covers(strings.Split(pattern, "/"), topic) }

// covers reports whether the pattern matches a topic.
func covers(pattern []string, topic string) bool {
	for i, p := range pattern {
		if p == "#" {
			return topic != ""
		}
		level, rest, more := strings.Cut(topic, "/")
		if p != "+" && p != level || more != (i < len(pattern)-1) {
			return false
		}
		topic = rest
	}
	return true
}

// contains reports whether a matches everything that b matches.
func contains(a, b []string) bool {
	for i := range a {
		switch {
		case a[i] == "#":
			return i < len(b)
		case i >= len(b) || b[i] == "#":
			return false
		case a[i] != "+" && a[i] != b[i]:
			return false
		}
	}
	return len(a) == len(b)
}

// meet reports whether there is a topic that both match.
func meet(a, b []string) bool {
	for i := 0; ; i++ {
		switch {
		case i == len(a) || i == len(b):
			return len(a) == len(b)
		case a[i] == "#" || b[i] == "#":
			return true
		case a[i] != b[i] && a[i] != "+" && b[i] != "+":
			return false
		}
	}
}

// CheckPattern returns an error for a malformed pattern.
func CheckPattern(pattern string) error {
	levels := strings.Split(pattern, "/")
	for i, l := range levels {
		switch {
		case l == "":
			return fmt.Errorf("pattern %q has an empty level", pattern)
		case l == "#" && i < len(levels)-1:
			return fmt.Errorf("pattern %q: # is allowed at the end only", pattern)
		case len(l) > 1 && strings.ContainsAny(l, "+#"):
			return fmt.Errorf("pattern %q: + and # stand for whole levels", pattern)
		case strings.ContainsAny(l, "*>"):
			return fmt.Errorf("pattern %q: write + for one level and # for all remaining levels", pattern)
		}
	}
	return nil
}

// maxStars limits the work of like.
const maxStars = 3

// like reports whether text matches a pattern in which '*' stands for any text.
func like(pattern, text string) bool {
	first, rest, wild := strings.Cut(pattern, "*")
	text, ok := strings.CutPrefix(text, first)
	switch {
	case !ok:
		return false
	case !wild:
		return text == ""
	}
	for i := range len(text) + 1 {
		if like(rest, text[i:]) {
			return true
		}
	}
	return false
}

var errNames = errors.New(`want CN:, DNS:, EMAIL: or URI: and a name, like "CN:panel-1"`)

func checkName(pattern string) error {
	kind, name, _ := strings.Cut(pattern, ":")
	if !slices.Contains([]string{"CN", "DNS", "EMAIL", "URI"}, kind) || strings.Trim(name, "*") == "" {
		return fmt.Errorf("certificate %q: %w", pattern, errNames)
	}
	if strings.Count(pattern, "*") > maxStars {
		return fmt.Errorf("certificate %q: at most %d *", pattern, maxStars)
	}
	return nil
}
