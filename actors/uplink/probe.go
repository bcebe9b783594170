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
func (e *engine) probe() {
	probe, i, track := e.good, 0, ""
	e.lane.each(func(x *entry) bool {
		if i == e.lane.accused {
			track = x.Track
		}
		if probe.Sequence == 0 && i > e.lane.accused && !x.gone && (x.Track != track || e.lane.lone >= desperate) {
			if r, ok := e.table.Route(x.Record, far.Free); ok {
				probe = r
			}
		}
		i++
		return probe.Sequence == 0
	})
	if e.lane.probing = probe.Sequence > 0; e.lane.probing {
		e.entries, e.out, e.bytes, e.batch, e.origin = 0, 0, sizeOf(probe), []record.Record{probe}, nil
	}
}

// probed takes in what has become of a record that the far end is known to take.
func (e *engine) probed(c *actors.Context, err error) {
	l := e.lane
	l.probing = false
	if _, metered := e.sender.(far.Metered); !metered {
		e.spend(time.Now(), uint64(e.bytes), 0)
	}
	var rejected *far.Rejected
	if err != nil && !errors.As(err, &rejected) {
		l.lone, l.proofs = 0, 0 // it fares no better: it is not the record
		e.undelivered(c, err)
		e.release(c)
		return
	}
	e.failures = 0
	if l.proofs++; l.proofs >= proofs {
		l.lone, l.proofs = 0, 0
		e.reject(c, l.accused, "the connection ended each time when it was sent, at last: "+e.error)
		e.settleGone(c)
	}
	e.release(c)
}
