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

// Step is the message that continues a scan. Dispatcher.Answer handles it.
type Step struct{ hunt *hunt }

// hunt is a scan for units that runs between the polls.
type hunt struct {
	sweep  *scan.Sweep
	caller *actors.Request
	post   func(any) error
	others uint64 // transactions of others when the scan began
	own    uint64 // answered requests of the scan
	rested bool   // the scan has paused after the last request without an answer

	result *dispatch.Result // of the last request; nil: none has ended
}

// scan starts a scan for units between the polls.
func (d *Dispatcher) scan(c *actors.Context, m *modbusv1.ScanRequest) {
	cfg, err := SweepOf(m)
	switch {
	case err != nil:
		c.Refuse(err)
		return
	case m.Suspend || len(m.Bauds) > 0 || len(m.Parities) > 0:
		c.Refuse(actors.Errorf(actors.InvalidArgument, "suspend, bauds and parities are only for a serial line"))
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

// carried returns the number of transactions that have ended.
func (d *Dispatcher) carried() uint64 {
	n := d.Counts()
	return n.Answered + n.Exceptions + n.Timeouts + n.Corrupt + n.Mismatched
}

// step handles the outcome of the last request of a scan and sends the next one.
func (d *Dispatcher) step(c *actors.Context, h *hunt) {
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
			h.caller.Refuse(actors.Errorf(actors.ResourceExhausted, "too many requests are waiting for the line"))
		}
	})
}

// heard reports the outcome of a request to the caller. It returns false if the scan does not
// continue now. If others use the line, the scan pauses after each request without an answer for as
// long as it waited for the answer. So it takes at most half of the line's time from them.
func (d *Dispatcher) heard(c *actors.Context, h *hunt) bool {
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

// stop ends a scan whose caller has gone.
func (d *Dispatcher) stop(h *hunt) {
	d.hunts--
	h.caller.Refuse(actors.Errorf(actors.Aborted, "the caller disconnected"))
}

// Scanning reports whether a scan is running between the polls.
func (d *Dispatcher) Scanning() bool { return d.hunts > 0 }

// SweepOf returns the sweep that a request asks for. Without units in the request it covers 1 to
// 247.
func SweepOf(m *modbusv1.ScanRequest) (scan.Config, error) {
	cfg := scan.Config{Wait: m.Wait.AsDuration()}
	for _, u := range m.Units {
		if u > 255 {
			return cfg, actors.Errorf(actors.InvalidArgument, "units: %d is not a unit address from 0 to 255", u)
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

// Progress returns the progress of a sweep together with the unit it has just found; f is nil if it
// found none.
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

// printable returns bytes as text. Bytes that are not printable are written like \xff.
func printable(b []byte) string {
	s := strconv.Quote(string(b))
	return strings.ReplaceAll(strings.ReplaceAll(s[1:len(s)-1], `\"`, `"`), `\\`, `\`)
}
