package main

import (
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors/modbusunit"
	"gatewayd/actors/serialline"
	"gatewayd/actors/tcplink"
	"gatewayd/bus"
	"gatewayd/protocols/serial/line"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
	"gatewayd/supervisor/config"
)

// field is a world with real lines, links and units, each link in a group with its units.
type field struct {
	*world
	tree *config.Tree
}

func newField(dir string) (*field, error) {
	w, err := newWorld(dir, modbusunit.Kind, serialline.Kind, tcplink.Kind)
	return &field{w, forest(0, 0, "")}, err
}

// plant adds a group with a link.
func (f *field) plant(name string, kind string, link proto.Message) *config.Node {
	g := group(name)
	schemas.Defaults(link)
	g.Children = []*config.Node{{Path: name + "/link", Kind: kind, Config: link}}
	f.tree.Root.Children = append(f.tree.Root.Children, g)
	return g
}

// unit adds a unit with n points in consecutive holding registers.
func unit(g *config.Node, number uint32, n int, every time.Duration) {
	u := &modbusv1.Unit{Link: g.Path + "/link", Unit: number, Every: durationpb.New(every), Timeout: durationpb.New(200 * time.Millisecond)}
	for i := range n {
		p := &modbusv1.Point{Name: fmt.Sprintf("r%d", i), Address: uint32(i)}
		schemas.Defaults(p)
		u.Points = append(u.Points, p)
	}
	schemas.Defaults(u)
	g.Children = append(g.Children, &config.Node{Path: fmt.Sprintf("%s/unit-%d", g.Path, number), Kind: "modbus-unit", Config: u})
}

// serialLine makes a paced line on which units 1 to last answer, and the config of its actor.
func serialLine(dir, name string, baud int, last byte) (*line.Line, *modbusv1.SerialLine, error) {
	return lineOf(dir, name, baud, last, line.Options{})
}

// lineOf is serialLine with options.
func lineOf(dir, name string, baud int, last byte, opts line.Options) (*line.Line, *modbusv1.SerialLine, error) {
	opts.Dir, opts.Name = dir, name
	l, err := line.New(opts)
	if err != nil {
		return nil, nil, err
	}
	l.Attach(func(frame []byte, _ time.Time) ([]byte, time.Duration) {
		if len(frame) == 0 || frame[0] > last {
			return nil, 0
		}
		return answer(frame), 0
	})
	return l, &modbusv1.SerialLine{Port: l.Path(), Baud: uint32(baud), Parity: "even"}, nil
}

// readings counts the good samples of each unit.
type readings struct {
	mu   sync.Mutex
	good map[string]int
}

func (f *field) read() (*readings, error) {
	r := &readings{good: map[string]int{}}
	_, err := f.bus.Conn().Subscribe("gw."+gateway+".data.>", func(m bus.Msg) {
		s := &samplev1.Samples{}
		if m.Decode(s) != nil || len(s.Samples) == 0 || s.Samples[0].Quality != "" {
			return
		}
		addr, err := bus.ParseSubject(m.Subject)
		if err != nil {
			return
		}
		r.mu.Lock()
		r.good[addr.Path]++
		r.mu.Unlock()
	})
	return r, err
}

func (r *readings) of(path string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.good[path]
}

func (r *readings) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.good)
}
