// Package config reads the config file: one TOML file that has the shape of the
// supervision tree. A table with kind is an actor, a table without is a group.
// It finds everything that is wrong with a file at once, with its line, and what
// a new file changes against an old one. It starts nothing and watches nothing.
package config

import (
	"errors"
	"io/fs"
	"os"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/schemas"
)

// Kind is what the reader must know about a kind of actor.
type Kind struct {
	// Name as written in the file, e.g. "modbus-unit".
	Name string
	// Config is the message its table is read into.
	Config protoreflect.MessageType
	// Services are the full names of what it answers, e.g. "modbus.v1.LinkService".
	Services []string
	// Complete puts into a config what files say that it names; nil: there are none.
	// Rules of fields are checked after it.
	Complete func(config proto.Message, load schemas.Load) []schemas.Violation
	// Check finds what is wrong with a config that keeps all rules of its fields; nil:
	// nothing can be.
	Check func(config proto.Message) []schemas.Violation
	// Beside finds what is wrong between the actors of a config, of which it gets
	// all, of any kind; nil: nothing can be. What it says of fields that are wrong by
	// themselves is not told.
	Beside func(all []schemas.Actor) []schemas.Finding
}

// Node is one actor or group.
type Node struct {
	// Path in the tree; "" is the root.
	Path string
	// Kind of the actor; "" for a group and for the root.
	Kind string
	// Config with its defaults filled in: the kind's message, *gatewayv1.Group for a
	// group, *gatewayv1.Gateway for the root.
	Config proto.Message
	// Written is Config without what files that it names have put into it; nil: none
	// have. Both have lists in common, which nobody changes in place.
	Written proto.Message
	// Children of a group: implicit actors first, then in the order of the file.
	Children []*Node
	// Line of the table's header; 0 for an implicit actor that is not in the file.
	Line int
}

// Tree is a config without errors.
type Tree struct {
	Root *Node
	File string
	Text Text
	// Warnings are what works, though hardly as meant.
	Warnings Problems
}

// Walk visits every node, a group before its children.
func (t *Tree) Walk(visit func(*Node)) { t.Root.walk(visit) }

func (n *Node) walk(visit func(*Node)) {
	visit(n)
	for _, c := range n.Children {
		c.walk(visit)
	}
}

// Find is the node at a path, nil if there is none.
func (t *Tree) Find(path string) *Node {
	var found *Node
	t.Walk(func(n *Node) {
		if n.Path == path {
			found = n
		}
	})
	return found
}

// Load is Parse on a file; a file that cannot be read is a problem without line.
func Load(path string, kinds []Kind, implicit ...string) (*Tree, Problems) {
	text, err := os.ReadFile(path)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, Problems{{File: path, Message: "cannot read the config file: " + err.Error()}}
	}
	return Parse(path, text, kinds, implicit...)
}

// Parse reads the text of a config file, which may hold actors of these kinds. Of
// each implicit kind one actor always runs at the top, under the kind's own name,
// whether the file mentions it or not; they start first, in the order given.
// Either the tree or the problems are nil; problems may have warnings among them,
// which alone stop nothing.
func Parse(file string, text []byte, kinds []Kind, implicit ...string) (*Tree, Problems) {
	r := newReader(file, kinds, implicit)
	root := r.read(text)
	r.problems.sort()
	all := append(r.problems, r.foreign...)
	if all.fatal() {
		return nil, all
	}
	return &Tree{Root: root, File: file, Text: NewText(text), Warnings: all}, nil
}
