package uplink

import (
	"errors"
	"fmt"
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

	// A far end may refuse so many records in a row. Then it is seen whether it refuses everything, as one does that is set up wrong: a backlog is not
	// thrown away for that.
	mostRefused = 20
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

// everything says whether a refusal of so many records may be one of all that there are. Then nothing is passed over until that is known.
func (e *engine) everything(c *actors.Context, n int, err error) bool {
	if e.refusals < mostRefused {
		e.refusals += n
		return false
	}
	e.lane.accused = e.origin[0]
	if e.lane.probing = e.good.Sequence > 0; e.lane.probing {
		return true
	}
	e.undelivered(c, fmt.Errorf("it refuses everything: %w", err))
	return true
}

// probed takes in what has become of a record that the far end is known to take.
func (e *engine) probed(c *actors.Context, err error) {
	l := e.lane
	l.probing = false
	if _, metered := e.sender.(far.Metered); !metered {
		e.spend(time.Now(), uint64(e.bytes), 0)
	}
	var rejected *far.Rejected
	switch {
	case errors.As(err, &rejected) && e.refusals >= mostRefused:
		e.undelivered(c, fmt.Errorf("it refuses everything: %w", err))
		e.release(c)
		return
	case err != nil && rejected == nil:
		l.lone, l.proofs = 0, 0 // it fares no better: it is not the record
		e.undelivered(c, err)
		e.release(c)
		return
	}
	if e.failures = 0; err == nil {
		e.refusals = 0
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
