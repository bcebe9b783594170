package modbuslink

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/scan"
	"gatewayd/protocols/modbus/schedule"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Step is the message by which a scan goes on; the desk's Answer takes it.
type Step struct{ hunt *hunt }

// hunt is a scan that takes its turn among the polls.
type hunt struct {
	sweep  *scan.Sweep
	caller *actors.Request
	post   func(any) error
	others uint64 // transactions of others when it began
	own    uint64 // its own that were answered
	rested bool   // after the last silence

	result *dispatch.Result // of the last request; nil: none has ended
}

// scan begins to look for units between the polls.
func (d *Desk) scan(c *actors.Context, m *modbusv1.ScanRequest) {
	cfg, err := SweepOf(m)
	switch {
	case err != nil:
		c.Refuse(err)
		return
	case m.Suspend || len(m.Bauds) > 0 || len(m.Parities) > 0:
		c.Refuse(actors.Errorf(actors.InvalidArgument, "only a serial line has other settings to try, and only with suspend"))
		return
	}
	h := &hunt{sweep: scan.New(cfg), caller: c.Take(), post: c.Post(), others: d.carried()}
	d.hunts++
	if h.caller.Send(Progress(h.sweep, nil)) != nil {
		d.stop(h)
		return
	}
	d.step(c, h)
}

// carried counts transactions that have ended.
func (d *Desk) carried() uint64 {
	n := d.Counts()
	return n.Answered + n.Exceptions + n.Timeouts + n.Corrupt + n.Mismatched
}

// step takes in how the last request of a scan has ended, and sends the next.
func (d *Desk) step(c *actors.Context, h *hunt) {
	if h.caller.Canceled() {
		d.stop(h)
		return
	}
	if h.result != nil && !d.heard(c, h) {
		return
	}
	r, ok := h.sweep.Next()
	if !ok {
		d.hunts--
		h.caller.Reply(nil)
		return
	}
	ask := &dispatch.Ask{Class: schedule.Poll, Requests: []modbus.Request{r}, Timeouts: []time.Duration{r.Timeout}, Search: true}
	d.Submit(ask, d.now(), func(a *dispatch.Answer) {
		h.result = &a.Results[0]
		if h.post(Step{h}) != nil {
			d.hunts--
			h.caller.Refuse(actors.Errorf(actors.ResourceExhausted, "too much waits for the line already"))
		}
	})
}

// heard tells the caller what has come of a request; false: the scan does not go
// on now. Where others use the line, it rests for as long as nobody answered: it
// takes half of their time at most.
func (d *Desk) heard(c *actors.Context, h *hunt) bool {
	r := h.result
	silent := r.Outcome == schedule.NoAnswer
	if silent && !h.rested && d.carried()-h.own > h.others {
		h.rested = true
		c.After(r.Took, Step{h})
		return false
	}
	h.rested, h.result = false, nil
	if r.Outcome == schedule.Answered || r.Outcome == schedule.Exception {
		h.own++
	}
	if r.Outcome == schedule.NotSent && !errors.Is(r.Err, modbus.ErrOwed) {
		d.hunts--
		h.caller.Refuse(actors.Errorf(actors.Unavailable, "%s", r.Err))
		return false
	}
	if h.caller.Send(Progress(h.sweep, h.sweep.Done(r.Response, r.Err, r.Took))) != nil {
		d.stop(h)
		return false
	}
	return true
}

// stop ends a scan that nobody looks at any more.
func (d *Desk) stop(h *hunt) {
	d.hunts--
	h.caller.Refuse(actors.Errorf(actors.Aborted, "the caller has gone"))
}

// Scanning says whether a scan takes its turn among the polls.
func (d *Desk) Scanning() bool { return d.hunts > 0 }

// SweepOf is what a caller wants to be looked for.
func SweepOf(m *modbusv1.ScanRequest) (scan.Config, error) {
	cfg := scan.Config{Wait: m.Wait.AsDuration()}
	for _, u := range m.Units {
		if u > 255 {
			return cfg, actors.Errorf(actors.InvalidArgument, "units: %d is no unit address, 0 to 255", u)
		}
		cfg.Units = append(cfg.Units, uint8(u))
	}
	for u := uint8(1); len(m.Units) == 0 && u <= 247; u++ {
		cfg.Units = append(cfg.Units, u)
	}
	for _, k := range m.Marks {
		i := k.Identify
		mark := scan.Mark{Profile: k.Profile, Vendor: i.VendorName, Product: i.ProductCode, Input: i.Area == "input", Address: uint16(i.Address)}
		for _, v := range i.Values {
			mark.Values = append(mark.Values, uint16(v))
		}
		cfg.Marks = append(cfg.Marks, mark)
	}
	return cfg, nil
}

// Progress is how far a sweep has come, and what it has found just now; nil:
// nothing.
func Progress(s *scan.Sweep, f *scan.Found) *modbusv1.ScanResponse {
	asked, total := s.Progress()
	m := &modbusv1.ScanResponse{Asked: uint32(asked), Total: uint32(total)}
	if f == nil {
		return m
	}
	m.Found = &modbusv1.FoundUnit{
		Unit: uint32(f.Unit), Said: f.Said, Took: durationpb.New(f.Took), ServerId: printable(f.ServerID), Profiles: f.Profiles,
	}
	for _, o := range f.Objects {
		m.Found.Objects = append(m.Found.Objects, &modbusv1.IdentificationObject{Id: uint32(o.ID), Name: modbus.ObjectName(o.ID), Value: printable(o.Value)})
	}
	return m
}

// printable is bytes as text; those that are none are written as \xff.
func printable(b []byte) string {
	s := strconv.Quote(string(b))
	return strings.ReplaceAll(strings.ReplaceAll(s[1:len(s)-1], `\"`, `"`), `\\`, `\`)
}
