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

// A Kind is one type of actor: its name, its config, the services it answers and what it publishes.
// It is a value; cmd/gatewayd/kinds.go lists them all.
type Kind struct {
	Name      string // as in the config file, e.g. "modbus-unit"
	Doc       string // what it does, as a sentence with a full stop
	Services  []protoreflect.ServiceDescriptor
	Publishes []Leaf
	Live      bool // handles Reconfigured without a new life
	// Place is set for kinds that read tracks: the bus keeps the reading position of an actor as
	// long as the actor is in the config, see Archive.
	Place  bool
	Faults []string // faults of Inject that it supports
	Limit  int      // most messages that may wait for it; 0: 256

	// Power returns what the group of the actor can power-cycle; nil: nothing.
	Power func(config proto.Message) *Power

	// Complete reads files named in the config, a device profile for instance, into the config. The
	// config reader calls it before it checks the rules of the schema. nil: there are none.
	Complete func(config proto.Message, load schemas.Load) []schemas.Violation

	// Check returns the violations of a config that no rule of a single field can express. nil:
	// there are none.
	Check func(config proto.Message) []schemas.Violation

	// Beside finds conflicts between actors, e.g. two on one port. It is called once per config,
	// with the actors of all kinds. nil: there are none.
	Beside func(all []schemas.Actor) []schemas.Finding

	// Notes returns remarks about a valid config, e.g. how busy a line is. It is called once, with
	// all actors, by "gatewayd check". nil: there are none.
	Notes func(all []schemas.Actor) []schemas.Finding

	config protoreflect.MessageType
	build  func(proto.Message) Actor
	meth   func() map[string]method // methods of Services, made for the first actor and shared by all of the kind
}

// A Leaf is one subject below an actor's name on which it publishes.
type Leaf struct {
	Class   bus.Class
	Leaf    string        // "*" if the config names the leaves
	Message proto.Message // an empty message of the type
}

// Power switches off and on the hardware or service an actor works with: a port, a radio, a server.
// If a function is nil, its step is left out. Both are called while the actors of the group are
// stopped, and must return when ctx ends.
type Power struct {
	Off, On func(ctx context.Context) error
	Hold    *gatewayv1.Power // the kind's own hold times; the group's config overrides them
}

// Define completes k with the function that builds one actor from its config. That function does no
// I/O; I/O begins with the actor's first message, Started.
func Define[C proto.Message](k Kind, build func(C) Actor) Kind {
	var zero C
	k.config = zero.ProtoReflect().Type()
	k.build = func(m proto.Message) Actor { return build(m.(C)) }
	k.meth = sync.OnceValue(k.methods)
	return k
}

// Service returns the named service of a generated file, for Kind.Services.
func Service(file protoreflect.FileDescriptor, name protoreflect.Name) protoreflect.ServiceDescriptor {
	s := file.Services().ByName(name)
	if s == nil {
		panic(fmt.Sprintf("%s has no service %s", file.Path(), name)) // a typing error in a Kind, which every test finds
	}
	return s
}

// New builds one actor from its config, which the actor may keep. It does no I/O.
func (k *Kind) New(config proto.Message) Actor { return k.build(config) }

// ConfigType returns the schema message of the kind's config.
func (k *Kind) ConfigType() protoreflect.MessageType { return k.config }

// Offers lists the full names of the kind's services.
func (k *Kind) Offers() []string {
	var names []string
	for _, s := range k.Services {
		names = append(names, string(s.FullName()))
	}
	return names
}

// Entry returns the catalogue entry of an actor of this kind at path.
func (k *Kind) Entry(path string) *actorv1.Entry {
	e := &actorv1.Entry{Path: path, Kind: k.Name, Doc: k.Doc, Services: append([]string{"actor.v1.ActorService"}, k.Offers()...)}
	for _, l := range k.Publishes {
		e.Publishes = append(e.Publishes, &actorv1.Published{
			Class: string(l.Class), Leaf: l.Leaf, Message: string(l.Message.ProtoReflect().Descriptor().FullName()),
		})
	}
	return e
}

// methods returns the kind's own methods by name.
func (k *Kind) methods() map[string]method {
	all := map[string]method{}
	for _, s := range k.Services {
		for i := range s.Methods().Len() {
			m := s.Methods().Get(i)
			in, err := protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
			if err != nil {
				panic(err) // generated code of a service is always linked with its messages
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

// CheckKind returns an error if a kind's declaration is incomplete or its name is invalid.
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
