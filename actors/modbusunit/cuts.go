package modbusunit

import (
	"errors"
	"slices"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/points"
)

// cuts are what has become of a group's reads because the unit refuses some: those that are refused are cut, down to what cannot be read at all.
// That rests, for asking again in every scan would cost the line a request for each of it. Now and then one more request
// tries something of it again, or a read as it was before it was cut: the unit may be another one by now.
type cuts struct {
	resting []resting
	stuck   bool // all is refused; one read is asked in each scan, to hear when that ends

	turn  int           // of what is tried
	pause time.Duration // between two tries; it grows from the group's rhythm to the unit's longest back-off
	at    time.Duration // of the next
	try   *points.Read  // in the scan that is under way
}

// resting is a read that the unit refuses, and why.
type resting struct {
	points.Read
	cause string
}

// adapt cuts reads that the unit has refused, so that one address that does not
// exist costs the points around it at most a few scans, and the line next to nothing.
func (u *unit) adapt(g *group, results []dispatch.Result) {
	var reads []points.Read
	var rest []resting
	for i := range results {
		e, read := refused(results[i].Err), g.reads[i]
		left, right, splits := points.Read{}, points.Read{}, false
		if e != nil && e.Code != modbus.IllegalFunction {
			left, right, splits = read.Halves(g.points)
		}
		switch {
		case e == nil:
			reads = append(reads, read)
		case splits:
			reads = append(reads, left, right)
		default:
			rest = append(rest, resting{read, results[i].Cause()})
		}
	}
	k := g.cuts
	switch {
	case len(rest) == 0 && len(reads) == len(g.reads):
		if k != nil && k.stuck && results[0].Err == nil {
			u.whole(g)
		}
		return
	case k != nil && k.stuck && len(g.reads) == 1 && len(rest) == 1:
		return
	case k == nil:
		k = &cuts{pause: g.every, at: u.now() + g.every}
		g.cuts = k
	}
	if k.stuck = len(reads) == 0; k.stuck {
		reads, rest = append(reads, rest[0].Read), rest[1:]
	}
	k.resting = append(k.resting, rest...)
	u.ask(g, reads)
}

// refused is the exception that err is, if asking again would bring it again.
func refused(err error) *modbus.Exception {
	if err == nil {
		return nil
	}
	var e *modbus.Exception
	if !errors.As(err, &e) || e.Code != modbus.IllegalFunction && e.Code != modbus.IllegalAddress && e.Code != modbus.IllegalValue {
		return nil
	}
	return e
}

// whole forgets the cuts: what is back may be another device.
func (u *unit) whole(g *group) {
	g.cuts = nil
	u.ask(g, g.table.reads)
}

func (u *unit) ask(g *group, reads []points.Read) {
	g.ask(reads, u.cfg.Unit)
	u.asks = nil
}

// requests are those of the next scan: one for each read, and perhaps a try.
func (u *unit) requests(g *group) []modbus.Request {
	k := g.cuts
	if k == nil || u.now() < k.at {
		return g.requests
	}
	tries := g.refused()
	if len(tries) == 0 {
		return g.requests
	}
	k.turn = (k.turn + 1) % len(tries)
	k.try = &tries[k.turn]
	return append(slices.Clip(g.requests), requestOf(*k.try, u.cfg.Unit))
}

// refused are the reads that are to be tried again: those that were cut, and those that rest.
func (g *group) refused() []points.Read {
	var all []points.Read
	for _, r := range g.table.reads {
		if !slices.ContainsFunc(g.reads, r.Equal) {
			all = append(all, r)
		}
	}
	for _, r := range g.cuts.resting {
		if !slices.ContainsFunc(g.table.reads, r.Equal) {
			all = append(all, r.Read)
		}
	}
	return all
}

// tried takes the outcome of a try from the results of a scan, if it is not that of a read which is read again from now on. back is what can be read again.
func (u *unit) tried(g *group, results []dispatch.Result) (polled []dispatch.Result, back *points.Read) {
	k := g.cuts
	if k == nil || k.try == nil {
		return results, nil
	}
	read, n := *k.try, len(results)-1
	k.try = nil
	if err := results[n].Err; err != nil {
		if refused(err) != nil {
			k.pause = min(2*k.pause, u.cfg.MaxBackoff.AsDuration())
		}
		k.at = u.now() + k.pause
		return results[:n], nil
	}
	k.pause, k.at = g.every, 0
	if i := slices.IndexFunc(k.resting, func(r resting) bool { return r.Equal(read) }); i >= 0 {
		k.resting = slices.Delete(k.resting, i, i+1)
		u.ask(g, append(slices.Clip(g.reads), read))
		return results, &read
	}
	return results[:n], &read
}

// join reads something as a whole again.
func (u *unit) join(g *group, whole points.Read) {
	k := g.cuts
	reads := slices.DeleteFunc(slices.Clone(g.reads), whole.Holds)
	k.resting = slices.DeleteFunc(k.resting, func(r resting) bool { return whole.Holds(r.Read) })
	u.ask(g, append(reads, whole))
	if len(g.refused()) == 0 {
		u.whole(g) // in their order
	}
}
