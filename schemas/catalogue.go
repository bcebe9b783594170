package schemas

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Description describes what all actors of a kind have in common.
type Description struct {
	Kind, Doc string
	Services  []protoreflect.ServiceDescriptor
	Leaves    []Leaf
}

// Leaf is something that actors publish.
type Leaf struct {
	Class, Leaf string // "+" where the config names the leaves
	Message     protoreflect.MessageDescriptor
}

// JSON returns the description as one document, which is also a JSON Schema (draft 2020-12):
// "$defs" has every message that is named. In topics {path} stands for the path of the actor.
func (d Description) JSON() ([]byte, error) {
	w := schemaWriter{defs: object{}}
	services := []object{}
	for _, s := range d.Services {
		services = append(services, object{"name": s.FullName(), "doc": Doc(string(s.FullName())), "methods": w.methods(s)})
	}
	leaves := []object{}
	for _, l := range d.Leaves {
		w.define(l.Message)
		leaves = append(leaves, object{
			"class": l.Class, "leaf": l.Leaf, "topic": l.Class + "/{path}/" + l.Leaf,
			"message": l.Message.FullName(), "doc": Doc(string(l.Message.FullName())),
		})
	}
	w.defs[errorName] = errorSchema()
	return json.Marshal(object{"$schema": draft, "kind": d.Kind, "doc": d.Doc, "services": services, "publishes": leaves, "error": errorName, "$defs": w.defs})
}

func (w *schemaWriter) methods(s protoreflect.ServiceDescriptor) []object {
	all := []object{}
	for i := range s.Methods().Len() {
		m := s.Methods().Get(i)
		w.define(m.Input())
		w.define(m.Output())
		all = append(all, object{
			"name": m.Name(), "doc": Doc(string(m.FullName())), "topic": "cmd/{path}/" + string(m.Name()),
			"request": m.Input().FullName(), "response": m.Output().FullName(), "stream": m.IsStreamingServer(),
		})
	}
	return all
}

// Descriptors returns the files of all messages and services of the description, including all
// imports, as a google.protobuf.FileDescriptorSet.
func (d Description) Descriptors() ([]byte, error) {
	var set []byte
	seen := map[string]bool{}
	var add func(protoreflect.FileDescriptor) error
	add = func(f protoreflect.FileDescriptor) error {
		if seen[f.Path()] {
			return nil
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() { // each file comes after its imports
			if err := add(f.Imports().Get(i).FileDescriptor); err != nil {
				return err
			}
		}
		raw, err := rawFile(f)
		if err != nil {
			return err
		}
		set = protowire.AppendBytes(protowire.AppendTag(set, 1, protowire.BytesType), raw)
		return nil
	}
	for _, s := range d.Services {
		if err := add(s.ParentFile()); err != nil {
			return nil, err
		}
	}
	for _, l := range d.Leaves {
		if err := add(l.Message.ParentFile()); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// rawFile returns a file's google.protobuf.FileDescriptorProto from the generated code of any of
// its messages.
func rawFile(f protoreflect.FileDescriptor) ([]byte, error) {
	if f.Messages().Len() == 0 {
		return nil, fmt.Errorf("%s has no messages", f.Path())
	}
	mt, err := protoregistry.GlobalTypes.FindMessageByName(f.Messages().Get(0).FullName())
	if err != nil {
		return nil, err
	}
	holds, ok := mt.Zero().Interface().(interface{ Descriptor() ([]byte, []int) })
	if !ok {
		return nil, fmt.Errorf("%s: %s does not hold it", f.Path(), mt.Descriptor().FullName())
	}
	zipped, _ := holds.Descriptor()
	z, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}
