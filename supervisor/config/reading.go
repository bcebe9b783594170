package config

import "strings"

// reading is a node with its position in the file.
type reading struct {
	node  *Node
	key   string          // of its table
	lines map[string]int  // of each field read, by its path within the config
	wrong map[string]bool // fields with a problem
}

// line returns the line of a field, or of what contains it.
func (r reading) line(field string) int {
	for ; field != ""; field = field[:max(0, strings.LastIndex(field, "."))] {
		if line, ok := r.lines[field]; ok {
			return line
		}
	}
	return r.node.Line
}

// full returns the dotted path of keys of a field.
func (r reading) full(field string) string {
	if r.key == "" || field == "" {
		return r.key + field
	}
	return r.key + "." + field
}
