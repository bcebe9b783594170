// Package config reads the config file: one TOML file in the shape of the supervision tree. A table
// with kind is an actor, a table without is a group. The package reports all errors of a file at
// once, with their lines, and computes the changes between two files. It starts nothing and watches
// nothing.
package config

import (
	"errors"
	"io/fs"
	"os"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/schemas"
)

// Kind is what the package must know about a kind of actor.
type Kind struct {
	// Name is the name in the file, e.g. "modbus-unit".
	Name string
	// Config is the message type of its table.
	Config protoreflect.MessageType
	// Services are the full names of the services it offers, e.g. "modbus.v1.LinkService".
	Services []string
	// Complete adds the contents of the files that a config names to it; nil: the kind's configs
	// name no files. The rules of fields are checked afterwards.
	Complete func(config proto.Message, load schemas.Load) []schemas.Violation
	// Check finds what is wrong with a config that satisfies all rules of its fields. It may be
	// nil.
	Check func(config proto.Message) []schemas.Violation
	// Beside finds conflicts between actors. It gets all actors of a config, of any kind. Findings
	// about fields that are wrong by themselves are dropped. It may be nil.
	Beside func(all []schemas.Actor) []schemas.Finding
}

// Node is one actor or group.
type Node struct {
	// Path in the tree; "" is the root.
	Path string
	// Kind of the actor; "" for a group and for the root.
	Kind string
	// Config with its defaults filled in: the kind's message, *gatewayv1.Group for a group,
	// *gatewayv1.Gateway for the root.
	Config proto.Message
	// Written is Config without what the files that it names have contributed; nil if there are no
	// such files. Written and Config share lists, which must not be modified.
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
	// Warnings are settings that work, but probably not as intended.
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

// Find returns the node at path, or nil.
func (t *Tree) Find(path string) *Node {
	var found *Node
	t.Walk(func(n *Node) {
		if n.Path == path {
			found = n
		}
	})
	return found
}

// Load is Parse for a file; a file that cannot be read is a problem without a line.
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

// Parse reads the text of a config file with actors of these kinds. One actor of each implicit kind
// always runs at the top level, under the kind's name, whether the file mentions it or not; these
// start first, in the order given. If there are errors, Parse returns no tree and the problems,
// which may include warnings. Warnings alone are returned in the tree.
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
