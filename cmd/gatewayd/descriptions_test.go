package main

import (
	"encoding/json"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"gatewayd/actors"
)

// The catalogue has what a client needs for every kind: a schema for each message that is named,
// without dangling references, and descriptors that are complete and contain it.
func TestDescriptionsOfKinds(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.Name, func(t *testing.T) {
			d := k.Description()
			text, err := d.JSON()
			if err != nil {
				t.Fatal(err)
			}
			set, err := d.Descriptors()
			if err != nil {
				t.Fatal(err)
			}
			if most := 192 << 10; len(text) > most || len(set) > most { // must fit into an MQTT packet
				t.Errorf("%d bytes of JSON and %d of descriptors: at most %d", len(text), len(set), most)
			}
			checkDescription(t, &k, text, set)
		})
	}
}

func checkDescription(t *testing.T, k *actors.Kind, text, set []byte) {
	t.Helper()
	var files descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(set, &files); err != nil {
		t.Fatal(err)
	}
	registry, err := protodesc.NewFiles(&files)
	if err != nil {
		t.Fatal(err)
	}
	var says struct {
		Kind     string
		Services []struct {
			Name, Doc string
			Methods   []struct{ Name, Doc, Topic, Request, Response string }
		}
		Publishes []struct{ Topic, Message string }
		Error     string
		Defs      map[string]json.RawMessage `json:"$defs"`
	}
	if err := json.Unmarshal(text, &says); err != nil {
		t.Fatal(err)
	}
	named := func(message string) {
		t.Helper()
		if says.Defs[message] == nil {
			t.Errorf("there is no schema of %s", message)
		}
		if _, err := registry.FindDescriptorByName(protoreflect.FullName(message)); err != nil {
			t.Errorf("%s: %v", message, err)
		}
	}
	if says.Kind != k.Name || says.Defs[says.Error] == nil || len(says.Services) != 1+len(k.Services) || len(says.Publishes) < len(k.Publishes) {
		t.Errorf("%+v", says)
	}
	for _, s := range says.Services {
		for _, m := range s.Methods {
			named(m.Request)
			named(m.Response)
			if m.Doc == "" || m.Topic != "cmd/{path}/"+m.Name {
				t.Errorf("%s.%s is on %s: %q", s.Name, m.Name, m.Topic, m.Doc)
			}
		}
	}
	for _, l := range says.Publishes {
		named(l.Message)
	}
	for _, part := range strings.Split(string(text), `"$ref":"#/$defs/`)[1:] {
		if name, _, _ := strings.Cut(part, `"`); says.Defs[name] == nil {
			t.Errorf("a reference to %s leads nowhere", name)
		}
	}
}
