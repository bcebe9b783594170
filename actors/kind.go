package actors

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"gatewayd/bus"
	"gatewayd/schemas"
	actorv1 "gatewayd/schemas/actor/v1"
	gatewayv1 "gatewayd/schemas/gateway/v1"
)

// A Kind is one type of actor: its name, its config, what it answers and what
// it says. It is a value; cmd/gatewayd/kinds.go lists them all.
type Kind struct {
	Name      string // as in the config file, e.g. "modbus-unit"
	Doc       string // what it does, a sentence with its full stop
	Services  []protoreflect.ServiceDescriptor
	Publishes []Leaf
	Live      bool     // takes Reconfigured without a new life
	Place     bool     // reads tracks: the bus keeps its reading position while it is in the config, see Archive
	Faults    []string // faults of Inject it understands
	Limit     int      // most messages that may wait for it; 0 is 256

	// Power tells what of this actor its group can power-cycle; nil: nothing.
	Power func(config proto.Message) *Power

	// Complete reads files that the config names, a device profile for instance, into the config. It is called by the
	// config reader before the rules of the schema are checked. nil: there are none.
	Complete func(config proto.Message, load schemas.Load) []schemas.Violation

	// Check finds what is wrong with a config and cannot be a rule of a single field. nil: nothing.
	Check func(config proto.Message) []schemas.Violation

	// Beside finds what is wrong between actors, e.g. two on one port. It is called once per config, with all
	// its actors of whatever kind. nil: nothing.
	Beside func(all []schemas.Actor) []schemas.Finding

	// Notes tells what is worth knowing about a valid config, e.g. how full a line is. It is called once, with all
	// actors, by "gatewayd check". nil: nothing.
	Notes func(all []schemas.Actor) []schemas.Finding

	config protoreflect.MessageType
	build  func(proto.Message) Actor
	meth   func() map[string]method // of Services, once an actor is there; shared by all of the kind
}

// A Leaf is one subject below an actor that it publishes on.
type Leaf struct {
	Class   bus.Class
	Leaf    string        // "*" where the config names the leaves
	Message proto.Message // an empty one tells the type
}

// Power switches off and on what an actor works with: a port, a radio, a server. Where a function is
// nil its step is left out. Both are called while the actors of the group are stopped, and must return when ctx ends.
type Power struct {
	Off, On func(ctx context.Context) error
	Hold    *gatewayv1.Power // the kind's own hold times; the group's config overrides
}

// Define completes k with the function that builds one actor from its config.
// That function does no I/O; the actor's first message, Started, is for that.
func Define[C proto.Message](k Kind, build func(C) Actor) Kind {
	var zero C
	k.config = zero.ProtoReflect().Type()
	k.build = func(m proto.Message) Actor { return build(m.(C)) }
	k.meth = sync.OnceValue(k.methods)
	return k
}

// Service finds a service by name in a generated file, for Kind.Services.
func Service(file protoreflect.FileDescriptor, name protoreflect.Name) protoreflect.ServiceDescriptor {
	s := file.Services().ByName(name)
	if s == nil {
		panic(fmt.Sprintf("%s has no service %s", file.Path(), name)) // a typing error in a Kind; every test meets it
	}
	return s
}

// New builds one actor from its config, which the actor may keep. It does no I/O.
func (k *Kind) New(config proto.Message) Actor { return k.build(config) }

// ConfigType is the schema message of the kind's config.
func (k *Kind) ConfigType() protoreflect.MessageType { return k.config }

// Offers lists the full names of the services the kind answers.
func (k *Kind) Offers() []string {
	var names []string
	for _, s := range k.Services {
		names = append(names, string(s.FullName()))
	}
	return names
}

// Entry is what the catalogue says of an actor of this kind at path.
func (k *Kind) Entry(path string) *actorv1.Entry {
	e := &actorv1.Entry{Path: path, Kind: k.Name, Doc: k.Doc, Services: append([]string{"actor.v1.ActorService"}, k.Offers()...)}
	for _, l := range k.Publishes {
		e.Publishes = append(e.Publishes, &actorv1.Published{
			Class: string(l.Class), Leaf: l.Leaf, Message: string(l.Message.ProtoReflect().Descriptor().FullName()),
		})
	}
	return e
}

// methods lists the kind's own methods by name.
func (k *Kind) methods() map[string]method {
	all := map[string]method{}
	for _, s := range k.Services {
		for i := range s.Methods().Len() {
			m := s.Methods().Get(i)
			in, err := protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
			if err != nil {
				panic(err) // generated code of the service is always linked with its messages
			}
			all[string(m.Name())] = method{m, in}
		}
	}
	return all
}

type method struct {
	desc protoreflect.MethodDescriptor
	in   protoreflect.MessageType
}

// CheckKind reports what is wrong with a kind's declaration.
func CheckKind(k *Kind) error {
	switch {
	case bus.CheckName(k.Name) != nil || strings.Contains(k.Name, "/"):
		return fmt.Errorf("kind %q: a name is lower-case letters, digits and '-'", k.Name)
	case k.build == nil:
		return fmt.Errorf("kind %s: make it with Define", k.Name)
	case k.Doc == "":
		return fmt.Errorf("kind %s: no doc", k.Name)
	}
	return nil
}
