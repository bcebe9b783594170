package main

import (
	"context"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/sim"
	"gatewayd/protocols/serial/line"
	samplev1 "gatewayd/schemas/sample/v1"
)

// site is a simulated plant with the config and data of a daemon that runs on it. The plant lives
// in the test process and records when it was polled, so that nothing that happens to the daemon's
// bus can hide a missed poll.
type site struct {
	t      *testing.T
	data   string
	config string // the config file
	lines  map[string]*line.Line
	units  map[string]*faultUnit // by path
	head   string                // config before the units
	order  []string
	extra  string // config after the units
}

// faultUnit is a simulated device and what is known about it.
type faultUnit struct {
	path, link string
	unit       uint8
	every      time.Duration
	options    string // more config of the unit
	device     *sim.Device

	mu    sync.Mutex
	polls []time.Time
}

// faultHead is the beginning of every site's config.
const faultHead = `gateway = "fault"
ladder  = ["restart 3 in 30m", "escalate"]

[bus]
kind   = "bus"
listen = "127.0.0.1:0"
canary = "300ms"

[drill]
kind  = "drill"
armed = true

[config]
kind   = "config"
budget = "1s"
`

func newSite(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	return &site{
		t: t, data: filepath.Join(dir, "data"), config: filepath.Join(dir, "gateway.toml"),
		lines: map[string]*line.Line{}, units: map[string]*faultUnit{}, head: faultHead,
	}
}

// host adds a device on a TCP port: group "field/<name>" with a link and units.
func (s *site) host(name string, every time.Duration, units ...uint8) []*faultUnit {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.head += fmt.Sprintf("\n[field.%s.link]\nkind = \"tcp-link\"\naddress = %q\nmax-backoff = \"200ms\"\n", name, l.Addr())
	all, plant := s.attach(name, "link", every, units)
	s.serve(func(ctx context.Context) { _ = plant.ServeTCP(ctx, l) })
	return all
}

// wire adds an RS-485 line: group "field/<name>" with a line and units.
func (s *site) wire(name string, every time.Duration, units ...uint8) (*line.Line, []*faultUnit) {
	s.t.Helper()
	w, err := line.New(line.Options{Dir: s.t.TempDir(), Name: name})
	if err != nil {
		s.t.Fatal(err)
	}
	s.lines[name] = w
	s.head += fmt.Sprintf("\n[field.%s.line]\nkind = \"serial-line\"\nport = %q\nbaud = 115200\n", name, w.Path())
	all, plant := s.attach(name, "line", every, units)
	s.t.Cleanup(func() { _ = w.Close() })
	s.serve(func(ctx context.Context) { _ = plant.ServeStream(ctx, w.Tap(), modbus.RTU) })
	return w, all
}

func (s *site) serve(fn func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); fn(ctx) }()
	s.t.Cleanup(func() { cancel(); <-done })
}

func (s *site) attach(group, link string, every time.Duration, units []uint8) ([]*faultUnit, *sim.Plant) {
	plant := sim.NewPlant()
	var all []*faultUnit
	for _, n := range units {
		path := fmt.Sprintf("field/%s/unit-%d", group, n)
		u := newFaultUnit(path, "field/"+group+"/"+link, n, every)
		plant.Add(u.device)
		s.units[path] = u
		s.order = append(s.order, path)
		all = append(all, u)
	}
	return all, plant
}

// newFaultUnit returns a device whose registers identify it, and which records when it is polled.
func newFaultUnit(path, link string, n uint8, every time.Duration) *faultUnit {
	u := &faultUnit{path: path, link: link, unit: n, every: every, device: sim.NewDevice(n)}
	u.device.Follow(sim.InputRegisters, 0, 1, func(uint16) uint16 {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.polls = append(u.polls, time.Now())
		return u.short()
	})
	u.device.Put(sim.InputRegisters, 100, uint16(u.long()>>16), uint16(u.long()))
	u.device.Put(sim.HoldingRegisters, 0, 0)
	return u
}

func (u *faultUnit) short() uint16 { return uint16(u.unit)<<8 | 0x5a }
func (u *faultUnit) long() uint32  { return uint32(u.unit)<<24 | 0xc0ffee }

// truth reports whether a good sample has the value the device holds.
func (u *faultUnit) truth(s *samplev1.Sample) bool {
	n, ok := s.Value.(*samplev1.Sample_Number)
	switch s.Point {
	case "short":
		return ok && n.Number == float64(u.short())
	case "long":
		return ok && n.Number == float64(u.long())
	}
	return false
}

// toml returns the unit's table. Its two points are so far apart and so different that the answer
// for one cannot be taken for the other.
func (u *faultUnit) toml() string {
	return fmt.Sprintf(`
[%s]
kind  = "modbus-unit"
link  = %q
unit  = %d
every = %q
%s
points = [
  { name = "short", area = "input", address = 0, type = "uint16" },
  { name = "long", area = "input", address = 100, type = "uint32" },
]
`, strings.ReplaceAll(u.path, "/", "."), u.link, u.unit, u.every.String(), u.options)
}

// text returns the config of the whole site.
func (s *site) text() string {
	text := s.head
	for _, path := range s.order {
		text += s.units[path].toml()
	}
	return text + s.extra
}

// write writes the config file from the current state of the site.
func (s *site) write() {
	s.t.Helper()
	if err := os.WriteFile(s.config, []byte(s.text()), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// since returns the times of the polls after begin.
func (u *faultUnit) since(begin time.Time) []time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i, at := range u.polls {
		if at.After(begin) {
			return append([]time.Time(nil), u.polls[i:]...)
		}
	}
	return nil
}

// slots assigns polls to the slots of their interval. It returns the number of slots, how many of
// them have no poll, and the delay of the latest poll.
func slots(polls []time.Time, every time.Duration) (all, missed int, late time.Duration) {
	if len(polls) < 2 {
		return len(polls), 0, 0
	}
	early := time.Duration(math.MaxInt64) // of the poll nearest to its slot
	k := 0
	on := make([]int, len(polls))
	for i := range polls {
		if i > 0 {
			k += max(1, int((polls[i].Sub(polls[0])-time.Duration(k)*every+every/2)/every))
		}
		on[i] = k
		early = min(early, polls[i].Sub(polls[0])-time.Duration(k)*every)
	}
	for i := range polls {
		late = max(late, polls[i].Sub(polls[0])-time.Duration(on[i])*every-early)
	}
	return k + 1, k + 1 - len(polls), late
}
