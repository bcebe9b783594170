package uplink

import (
	"errors"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/record"
	far "gatewayd/protocols/uplink"
)

// A record that ends the connection suspectAfter times in a row is suspected. The uplink then sends
// a record that the far end has accepted before, which does not change the order. Only if that one
// gets through proofs times in between is the suspected record skipped; otherwise the link may have
// recovered by chance.
const (
	suspectAfter = 6
	proofs       = 3
	// From then on the probe may be the next record of the same track, if there is nothing else.
	anyProbeAfter = 30
)

// probe makes a record that the far end is known to accept the next batch. If none is known yet, it
// takes the first record of another track, which is in order as well.
func (e *engine) probe() bool {
	probe, i, track := e.good, 0, ""
	var origin []int
	e.lane.each(func(x *entry) bool {
		if i == e.lane.accused {
			track = x.Track
		}
		if probe.Sequence == 0 && i > e.lane.accused && !x.gone && !x.aside && (x.Track != track || e.lane.soleFailures >= anyProbeAfter) {
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

// probed handles the outcome of a probe.
func (e *engine) probed(c *actors.Context, err error) {
	l := e.lane
	l.probing = false
	if _, metered := e.sender.(far.Metered); !metered {
		e.spend(time.Now(), uint64(e.bytes), 0)
	}
	var rejected *far.RejectedError
	switch {
	case err == nil:
		if e.failures = 0; len(e.origin) == 1 {
			e.had(c)
		}
		e.noteAccepted()
	case errors.As(err, &rejected) && l.soleFailures == 0: // it no longer accepts what it accepted before
		e.good = record.Record{}
		e.search(c, err)
		e.release(c)
		return
	case rejected == nil:
		switch l.proofs = 0; {
		case len(e.origin) == 0:
			l.soleFailures = 0 // the probe failed as well, so the record is not to blame
		case l.soleFailures >= anyProbeAfter:
			l.at(e.origin[0]).aside = true // another probe may get through
		}
		e.broken(c, err)
		e.release(c)
		return
	}
	if l.soleFailures > 0 {
		l.proofs++
	}
	if l.proofs >= proofs {
		l.soleFailures, l.proofs = 0, 0
		e.reject(c, l.accused, "the connection ended each time it was sent, most recently: "+e.error)
		e.settleGone(c)
	}
	e.release(c)
}
