package actors

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/bus"
	"gatewayd/schemas"
	actorv1 "gatewayd/schemas/actor/v1"
)

// Catalogue is the path under which all actors are listed: state/catalogue is the index, and
// state/catalogue/<path> the listing of one actor. No actor has this path. The descriptions of
// kinds are generated on request.
const Catalogue = "catalogue"

// indexAfter is how long the index waits for further changes before it is published.
const indexAfter = 200 * time.Millisecond

// register holds what the catalogue is made from, besides the cells.
type register struct {
	mu      sync.Mutex
	kinds   map[string]*kindUse // kinds of the existing actors
	pending bool                // the index is about to be published
}

type kindUse struct {
	kind *Kind
	n    int
}

// enter lists a new actor.
func (s *System) enter(c *Cell) {
	s.register.mu.Lock()
	use := s.register.kinds[c.kind.Name]
	if use == nil {
		use = &kindUse{kind: c.kind}
		s.register.kinds[c.kind.Name] = use
	}
	use.n++
	fresh := use.n == 1
	s.register.mu.Unlock()
	c.sayListing()
	if fresh || c.parent == nil {
		s.reindex()
	}
}

// strike removes an actor from the list.
func (s *System) strike(c *Cell) {
	s.register.mu.Lock()
	last := false
	if use := s.register.kinds[c.kind.Name]; use != nil {
		if use.n--; use.n == 0 {
			last = true
			delete(s.register.kinds, c.kind.Name)
		}
	}
	s.register.mu.Unlock()
	if err := s.Bus.PublishRaw(c.listed(), bus.JSON, nil); err != nil {
		c.log().Debug("cannot remove the actor from the catalogue", "err", err)
	}
	if last || c.parent == nil {
		s.reindex()
	}
}

func (c *Cell) listed() string {
	return bus.Subject(c.sys.Gateway, bus.State, Catalogue, strings.ReplaceAll(c.path, "/", "."))
}

func (c *Cell) sayListing() {
	m := &actorv1.Listing{Path: c.path, Kind: c.kind.Name, About: c.about, Services: c.kind.services()}
	if err := c.sys.Bus.Publish(c.listed(), m); err != nil {
		c.log().Debug("cannot add the actor to the catalogue", "err", err)
	}
}

// reindex schedules the publication of the index, once for all changes until then.
func (s *System) reindex() {
	s.register.mu.Lock()
	defer s.register.mu.Unlock()
	if s.register.pending {
		return
	}
	s.register.pending = true
	time.AfterFunc(indexAfter, s.sayIndex)
}

func (s *System) sayIndex() {
	s.register.mu.Lock()
	s.register.pending = false
	s.register.mu.Unlock()
	if err := s.Bus.Publish(bus.Subject(s.Gateway, bus.State, "", Catalogue), s.index()); err != nil {
		s.Log.Debug("index of the catalogue not published", "err", err)
	}
}

// index returns all actors by kind. Children are not in it.
func (s *System) index() *actorv1.Index {
	of := map[string]*actorv1.IndexedKind{}
	s.register.mu.Lock()
	for name, use := range s.register.kinds {
		of[name] = &actorv1.IndexedKind{Kind: name, Doc: use.kind.Doc, Services: use.kind.services()}
	}
	s.register.mu.Unlock()
	for _, c := range s.Cells() {
		if k := of[c.kind.Name]; k != nil && c.parent == nil {
			k.Actors = append(k.Actors, c.path)
		}
	}
	m := &actorv1.Index{Gateway: s.Gateway, Ways: ways(s.Gateway)}
	for _, k := range of {
		slices.Sort(k.Actors)
		m.Kinds = append(m.Kinds, k)
	}
	slices.SortFunc(m.Kinds, func(a, b *actorv1.IndexedKind) int { return cmp.Compare(a.Kind, b.Kind) })
	return m
}

func ways(gateway string) []*actorv1.Way {
	return []*actorv1.Way{
		{Door: "mqtt", Call: "cmd/{path}/{method}/{token}", Answer: "reply/{client}/{token}", Cancel: "cancel/{client}/{token}", Subscribe: "{class}/{path}/{leaf}"},
		{Door: "nats", Call: "gw." + gateway + ".cmd.{path}.{method}", Subscribe: "gw." + gateway + ".{class}.{path}.{leaf}"},
		{Door: "http", Call: "/cmd/{path}/{method}", Subscribe: "/{class}/{path}/{leaf}"},
	}
}

// services returns the full names of all services that an actor of the kind answers.
func (k *Kind) services() []string {
	return append([]string{string(actorService().FullName())}, k.Offers()...)
}

// always is what every actor publishes, whatever its kind.
var always = [...]struct {
	class bus.Class
	leaf  string
	of    proto.Message
}{
	{bus.State, "health", &actorv1.Health{}},
	{bus.Event, "started", &actorv1.Started{}},
	{bus.Trace, "span", &actorv1.Span{}},
}

// Description describes what all actors of the kind have in common.
func (k *Kind) Description() schemas.Description {
	d := schemas.Description{Kind: k.Name, Doc: k.Doc, Services: append([]protoreflect.ServiceDescriptor{actorService()}, k.Services...)}
	for _, l := range k.Publishes {
		leaf := l.Leaf
		if leaf == "*" {
			leaf = "+"
		}
		d.Leaves = append(d.Leaves, schemas.Leaf{Class: string(l.Class), Leaf: leaf, Message: l.Message.ProtoReflect().Descriptor()})
	}
	for _, l := range always {
		d.Leaves = append(d.Leaves, schemas.Leaf{Class: string(l.class), Leaf: l.leaf, Message: l.of.ProtoReflect().Descriptor()})
	}
	return d
}

// explain adds the description of the kind to an answer.
func (k *Kind) explain(m *actorv1.DescribeResponse) error {
	d := k.Description()
	text, err := d.JSON()
	if err != nil {
		return err
	}
	m.Description = &structpb.Struct{}
	if err = protojson.Unmarshal(text, m.Description); err != nil {
		return err
	}
	m.Descriptors, err = d.Descriptors()
	return err
}

// Kinds lists the kinds of all existing actors, sorted. Any goroutine may call it.
func (g Gate) Kinds() []string {
	r := &g.l.cell.sys.register
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]string, 0, len(r.kinds))
	for name := range r.kinds {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// Description returns the description of a kind; ok is false if there is no actor of it.
func (g Gate) Description(kind string) (d schemas.Description, ok bool) {
	r := &g.l.cell.sys.register
	r.mu.Lock()
	defer r.mu.Unlock()
	use := r.kinds[kind]
	if use == nil {
		return d, false
	}
	return use.kind.Description(), true
}

// Everything returns the whole catalogue as one JSON document: the index and the descriptions of
// all kinds.
func (g Gate) Everything() ([]byte, error) {
	index, err := g.l.cell.sys.index().AppendJSON(nil)
	if err != nil {
		return nil, err
	}
	kinds := map[string]json.RawMessage{}
	for _, name := range g.Kinds() {
		d, ok := g.Description(name)
		if !ok {
			continue // the last actor of the kind has just gone
		}
		if kinds[name], err = d.JSON(); err != nil {
			return nil, fmt.Errorf("kind %s: %w", name, err)
		}
	}
	return json.Marshal(map[string]any{"index": json.RawMessage(index), "kinds": kinds})
}
