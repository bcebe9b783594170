package modbusfirewall

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/firewall"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

// group is a dead-man group: it supervises a controller that must not fall silent.
type group struct {
	cfg     *modbusv1.DeadMan
	callers firewall.Patterns
	watch   firewall.Watch
	writes  []*safeWrite
	value   string        // last value of the point
	timer   *actors.Timer // for the next check
	trips   int           // number of trips; orders of an earlier trip are obsolete
}

// safeWrite is one of the writes that bring its units into a safe state.
type safeWrite struct {
	unit    string // path of the unit, or <link>/<address> if no actor polls it
	link    string // set if no actor polls the unit
	what    string // description for events
	request modbus.Request
	rest    time.Duration // of the unit after it, where it has no actor
	done    bool
}

// assemble returns the groups that a config describes. A group that exists already keeps its last
// sign of life and whether it has tripped.
func (k *keeper) assemble(cfg *modbusv1.Firewall) ([]*group, error) {
	var groups []*group
	for _, d := range cfg.DeadMan {
		if (d.Unit == "") != (d.Point == "") {
			return nil, fmt.Errorf("dead-man %s: unit and point must be set together", d.Name)
		}
		g := &group{cfg: d, callers: firewall.NewPatterns(d.Callers), watch: firewall.NewWatch(d.Silence.AsDuration(), time.Now())}
		if old := named(k.groups, d.Name); old != nil {
			g.watch, g.value, g.trips = old.watch, old.value, old.trips
			g.watch.Silence = d.Silence.AsDuration()
		}
		groups = append(groups, g)
	}
	for i, w := range cfg.SafeWrites {
		if (w.Unit == "") == (w.Link == "") || (w.Link == "") != (w.At == nil) {
			return nil, fmt.Errorf("safe-writes[%d]: give unit, or link and at", i)
		}
		if w.Link == "" && w.RestAfterWrite.AsDuration() > 0 {
			return nil, fmt.Errorf("safe-writes[%d]: rest-after-write is only for link; %s has its own", i, w.Unit)
		}
		r, err := requestOf(&modbusv1.JudgeRequest{Function: writeFunction(w), Address: w.Address, Values: w.Values})
		if err != nil {
			return nil, fmt.Errorf("safe-writes[%d]: %w", i, err)
		}
		g := named(groups, w.Group)
		if g == nil {
			return nil, fmt.Errorf("safe-writes[%d]: unknown dead-man group %q", i, w.Group)
		}
		s := &safeWrite{unit: w.Unit, link: w.Link, what: fmt.Sprintf("write %s %d", w.Area, w.Address), request: r, rest: w.RestAfterWrite.AsDuration()}
		if s.link != "" {
			s.unit, s.request.Unit = fmt.Sprintf("%s/%d", w.Link, w.GetAt()), uint8(w.GetAt())
		}
		g.writes = append(g.writes, s)
	}
	return groups, nil
}

func writeFunction(w *modbusv1.SafeWrite) uint32 {
	single, many := modbus.WriteSingleRegister, modbus.WriteMultipleRegisters
	if w.Area == "coil" {
		single, many = modbus.WriteSingleCoil, modbus.WriteMultipleCoils
	}
	if len(w.Values) == 1 {
		return uint32(single)
	}
	return uint32(many)
}

func named(groups []*group, name string) *group {
	for _, g := range groups {
		if g.cfg.Name == name {
			return g
		}
	}
	return nil
}

// sample records a sign of life if the point is good and has changed.
func (g *group) sample(all *samplev1.Samples) {
	for _, s := range all.Samples {
		if s.Point != g.cfg.Point || s.Quality != "" || s.Value == nil {
			continue
		}
		only := proto.Clone(s).(*samplev1.Sample)
		only.Cause, only.Time = "", nil
		value := only.String()
		if g.value != "" && value != g.value {
			g.watch.SignOfLife(time.Now())
		}
		g.value = value
	}
}
