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

// Dial connects to the line played back from a recording.
type Dial = func(context.Context) (modbus.Conn, error)

// Incident is the result of replaying a recording.
type Incident struct {
	Published []Published
	// Strangers are requests that the recording has no answer for, because the config asks for
	// something other than the config of that time.
	Strangers []string
	Faults    []*actors.Fault
}

// Replay runs the link that a recording (gatewayd trace --record) is from, and the units on it in
// the config, through the whole recording in virtual time. Hours take moments, and nothing depends
// on the load of the machine. kinds returns the kinds in the config; those that connect to the
// outside must use the recording: serialline.Over(dial), tcplink.Over(dial), modbusunit.Kind.
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
		t.Cleanup(func() { time.Sleep(time.Minute) }) // lets everything under way end
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

// linkOf returns the link that a config names, or "".
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

// Samples returns those of a unit's scan group, in the order they were published.
func (i *Incident) Samples(path, group string) (all []*samplev1.Samples) {
	for _, p := range i.Published {
		if s, ok := p.Message.(*samplev1.Samples); ok && p.Subject == bus.Subject(Gateway, bus.Data, path, group) {
			all = append(all, s)
		}
	}
	return all
}

// Events returns the events of a leaf, from all actors.
func (i *Incident) Events(leaf string) (all []proto.Message) {
	for _, p := range i.Published {
		if a, err := bus.ParseSubject(p.Subject); err == nil && a.Class == bus.Event && strings.HasSuffix(a.Leaf, leaf) {
			all = append(all, p.Message)
		}
	}
	return all
}
