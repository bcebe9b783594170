package actorstest

import (
	"context"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/bus"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/replay"
	samplev1 "gatewayd/schemas/sample/v1"
	"gatewayd/supervisor/config"
)

// Dial opens what a recording plays.
type Dial = func(context.Context) (modbus.Conn, error)

// Incident is what came of a recording.
type Incident struct {
	Published []Published
	// Strangers are requests that the recording has no answer for: the config asks for something else than the one of then.
	Strangers []string
	Faults    []*actors.Fault
}

// Replay runs the link that a recording (gatewayd trace --record) is from, and
// the units that a config has on it, from the recording's beginning to its end
// in virtual time: hours take moments, and nothing depends on how busy the
// machine is. kinds are those in the config, over the recording where they
// reach out: serialline.Over(dial), tcplink.Over(dial), modbusunit.Kind.
func Replay(t *testing.T, recording, toml string, kinds func(Dial) []actors.Kind) *Incident {
	t.Helper()
	f, err := os.Open(recording)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	line, err := replay.New(f, 1)
	if err != nil {
		t.Fatalf("%s: %v", recording, err)
	}
	all := kinds(line.Dial)
	var known []config.Kind
	byName := map[string]actors.Kind{}
	for _, k := range all {
		known = append(known, config.Kind{Name: k.Name, Config: k.ConfigType(), Services: k.Offers(), Complete: k.Complete, Check: k.Check})
		byName[k.Name] = k
	}
	tree, problems := config.Load(toml, known, "bus", "config", "drill")
	if len(problems) > 0 {
		t.Fatalf("%s: %s", toml, problems.Format())
	}
	from := line.Header().Link
	if tree.Find(from) == nil {
		t.Fatalf("%s is from %q, which is not in %s", recording, from, toml)
	}
	result := &Incident{}
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) }) // what was under way ends
		r, b := NewVirtual(t)
		tree.Walk(func(n *config.Node) {
			if n.Path == from || linkOf(n.Config) == from {
				r.Start(n.Path, byName[n.Kind], n.Config)
			}
		})
		time.Sleep(line.Length() + time.Second)
		result.Published, result.Strangers = b.All(), line.Strangers()
		for len(r.Faults) > 0 {
			result.Faults = append(result.Faults, <-r.Faults)
		}
	})
	return result
}

// linkOf is the link that a config names; empty: none.
func linkOf(m proto.Message) string {
	if m == nil {
		return ""
	}
	fd := m.ProtoReflect().Descriptor().Fields().ByName("link")
	if fd == nil {
		return ""
	}
	return m.ProtoReflect().Get(fd).String()
}

// Samples are those of a unit's scan group, in the order they came.
func (i *Incident) Samples(path, group string) (all []*samplev1.Samples) {
	for _, p := range i.Published {
		if s, ok := p.Message.(*samplev1.Samples); ok && p.Subject == bus.Subject(Gateway, bus.Data, path, group) {
			all = append(all, s)
		}
	}
	return all
}

// Events are those of a leaf, of whatever actor.
func (i *Incident) Events(leaf string) (all []proto.Message) {
	for _, p := range i.Published {
		if a, err := bus.ParseSubject(p.Subject); err == nil && a.Class == bus.Event && strings.HasSuffix(a.Leaf, leaf) {
			all = append(all, p.Message)
		}
	}
	return all
}
