package modbusunit

import (
	"errors"
	"slices"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/points"
)

// cuts is the state of a group's reads if the unit refuses some of them. Refused reads are cut in
// halves, down to the points that cannot be read at all. Those rest, because asking for them in
// every scan would cost the line a request each. From time to time one extra request tries one of
// them again, or a read as it was before it was cut: the unit may have been replaced meanwhile.
type cuts struct {
	resting []resting
	stuck   bool // everything is refused; each scan sends one read to notice when that ends

	turn  int           // index of the last try
	pause time.Duration // between two tries; grows from the group's interval to the unit's max-backoff
	at    time.Duration // time of the next try
	try   *points.Read  // the try in the current scan; nil: there is none
}

// resting is a read that the unit refuses, and the cause.
type resting struct {
	points.Read
	cause string
}

// adapt cuts reads that the unit has refused. So one invalid address costs the points around it at
// most a few scans, and the line next to nothing.
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

// refused returns the exception in err if asking again would lead to it again, else nil.
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

// whole drops the cuts, because the unit that is back may be another device.
func (u *unit) whole(g *group) {
	g.cuts = nil
	u.ask(g, g.table.reads)
}

func (u *unit) ask(g *group, reads []points.Read) {
	g.ask(reads, u.cfg.Unit)
	u.asks = nil
}

// requests returns the requests of the next scan: one for each read, and a try if one is due.
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

// refused returns the reads to be tried again: those that were cut and those that rest.
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

// tried handles the outcome of a try. polled are the results of the group's reads; they include
// that of the try if it is one of the reads from now on. back is the read that succeeded again;
// nil: none.
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

// join reads a block as a whole again.
func (u *unit) join(g *group, whole points.Read) {
	k := g.cuts
	reads := slices.DeleteFunc(slices.Clone(g.reads), whole.Holds)
	k.resting = slices.DeleteFunc(k.resting, func(r resting) bool { return whole.Holds(r.Read) })
	u.ask(g, append(reads, whole))
	if len(g.refused()) == 0 {
		u.whole(g) // restores the order of the reads
	}
}
