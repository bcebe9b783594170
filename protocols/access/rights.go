package access

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// rights are the patterns of all roles of somebody, each as its levels.
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

// May tells whether the topic may be used: called, if it is of class cmd, else heard.
func (r rights) May(topic string) bool {
	return anyOf(r.allow, topic) && !anyOf(r.deny, topic)
}

// Patterns are what the roles allow and deny, for who cannot ask about every topic.
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

// Hears tells whether there may be a topic under an MQTT filter that may be used. Each message is still to be judged by May:
// where some of what a filter picks is denied, the rest is heard.
func (r rights) Hears(filter string) bool {
	f := strings.Split(filter, "/")
	within := func(p []string) bool { return contains(p, f) }
	return slices.ContainsFunc(r.allow, func(p []string) bool { return meet(p, f) }) && !slices.ContainsFunc(r.deny, within)
}

// Covers tells whether a pattern picks a topic.
func Covers(pattern, topic string) bool { return covers(strings.Split(pattern, "/"), topic) }

// covers tells whether the pattern picks a topic.
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

// contains tells whether a picks all that b picks.
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

// meet tells whether there is a topic that both pick.
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

// CheckPattern refuses a pattern that can mean nothing.
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
			return fmt.Errorf("pattern %q: one level is +, the rest is #", pattern)
		}
	}
	return nil
}

// mostStars bounds the work of like.
const mostStars = 3

// like tells whether text is as a pattern says in which '*' stands for any text.
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
	if strings.Count(pattern, "*") > mostStars {
		return fmt.Errorf("certificate %q: at most %d *", pattern, mostStars)
	}
	return nil
}
