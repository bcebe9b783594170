package uplink

import (
	"errors"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/record"
	far "gatewayd/protocols/uplink"
)

// A single record may end the connection so often before it is seen whether another does as well, one that the far end has taken before: nothing gets out
// of order by that. Only when that one has gone through so often in between is the record to blame, and not a link that happened to come back.
const (
	stubborn  = 6
	proofs    = 3
	desperate = 30 // then it may be the next one of its track, if nothing else is there
)

// probe makes the next batch one record that the far end is known to take. Where none is known yet it is the first of another track, which is in its order
// as well.
func (e *engine) probe() bool {
	probe, i, track := e.good, 0, ""
	var origin []int
	e.lane.each(func(x *entry) bool {
		if i == e.lane.accused {
			track = x.Track
		}
		if probe.Sequence == 0 && i > e.lane.accused && !x.gone && !x.aside && (x.Track != track || e.lane.lone >= desperate) {
			if r, ok := e.table.Route(x.Record, far.Free); ok {
				probe, origin = r, []int{i}
			}
		}
		i++
		return probe.Sequence == 0
	})
	if e.lane.probing = probe.Sequence > 0; e.lane.probing {
		e.entries, e.out, e.bytes, e.batch, e.origin = 0, 0, sizeOf(probe), []record.Record{probe}, origin
	}
	return e.lane.probing
}

// probed takes in what has become of a record that the far end is thought to take.
func (e *engine) probed(c *actors.Context, err error) {
	l := e.lane
	l.probing = false
	if _, metered := e.sender.(far.Metered); !metered {
		e.spend(time.Now(), uint64(e.bytes), 0)
	}
	var rejected *far.Rejected
	switch {
	case err == nil:
		if e.failures = 0; len(e.origin) == 1 {
			e.had(c)
		}
		e.vouch()
	case errors.As(err, &rejected) && l.lone == 0: // what it once took it takes no longer
		e.good = record.Record{}
		e.search(c, err)
		e.release(c)
		return
	case rejected == nil:
		switch l.proofs = 0; {
		case len(e.origin) == 0:
			l.lone = 0 // it fares no better: it is not the record
		case l.lone >= desperate:
			l.at(e.origin[0]).aside = true // another one may fare better
		}
		e.broken(c, err)
		e.release(c)
		return
	}
	if l.lone > 0 {
		l.proofs++
	}
	if l.proofs >= proofs {
		l.lone, l.proofs = 0, 0
		e.reject(c, l.accused, "the connection ended each time when it was sent, at last: "+e.error)
		e.settleGone(c)
	}
	e.release(c)
}
