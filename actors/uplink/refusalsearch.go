package uplink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/record"
	far "gatewayd/protocols/uplink"
)

// refusalSearch decides what a refusal means. Either the refused records are bad and must be
// skipped, or the far end refuses everything, for instance because it is misconfigured; skipping
// would then discard the whole backlog. A record is therefore skipped only if it is refused again
// after the far end has accepted another one. To find one that is accepted, the uplink tries the
// records behind the refused one, one at a time and in order; then the newest record that the far
// end accepted before; and if there is none, records from anywhere in the tracks, newest first. It
// tries more of them each round, with a pause in between, for ever. Refused records are put aside
// meanwhile. They are tried once more when one was accepted, so none that the far end would accept
// then is lost.
type refusalSearch struct {
	vouched  time.Time // when the far end last accepted a record after a refusal
	attempts int       // since the last pause
	rounds   int
	turn     int    // which record from anywhere in the tracks is next
	refusal  string // the last one
}

const (
	believable = time.Minute // how long an acceptance counts as proof; the time of two batches is added
	firstRound = 20          // records tried before the first pause; doubled each round
	maxRounds  = 10
)

// judgeRefusal reports whether a refusal is about bad records. If that is not known yet, it puts
// the records aside and starts the search.
func (e *engine) judgeRefusal(c *actors.Context, m *far.RejectedError) bool {
	now := time.Now()
	var refused []*entry
	for _, r := range m.Records {
		if r.Index >= 0 && r.Index < len(e.origin) {
			refused = append(refused, e.lane.at(e.origin[r.Index]))
		}
	}
	if len(m.Records) == 0 {
		refused = append(refused, e.lane.at(e.origin[0]))
	}
	again := !slices.ContainsFunc(refused, func(x *entry) bool { return x.refused.IsZero() || !e.vouched.After(x.refused) })
	if again && now.Sub(e.vouched) < believable+2*e.cfg.Timeout.AsDuration() {
		return true
	}
	for _, x := range refused {
		x.aside, x.refused = true, now
	}
	e.search(c, m)
	return false
}

// noteAccepted notes that the far end accepts records. Those it has refused are tried again, and a
// refusal then counts.
func (e *engine) noteAccepted() {
	e.endSearch()
	e.vouched = time.Now()
}

// endSearch ends the search.
func (e *engine) endSearch() {
	e.vouched, e.attempts, e.rounds, e.turn, e.refusal = time.Time{}, 0, 0, 0, ""
	for _, l := range [...]*lane{&e.fresh, &e.main} {
		l.searching = false
		l.each(func(x *entry) bool {
			x.aside = false
			return true
		})
	}
}

// search starts or continues the search for a record that the far end accepts. Each round ends with
// a pause, after which the search begins with the oldest record again.
func (e *engine) search(c *actors.Context, refusal error) {
	var m *far.RejectedError
	if e.refusal = refusal.Error(); errors.As(refusal, &m) {
		if e.refusal = m.Why; len(m.Records) > 0 {
			e.refusal = m.Records[0].Why
		}
	}
	l := e.lane
	l.searching, l.suspects, l.batchLimit = true, 0, 1
	e.attempts++
	switch enough := e.attempts >= firstRound<<min(e.rounds, maxRounds); {
	case enough && e.good.Sequence > 0:
		l.probing = true
	case enough:
		e.endRound(c)
	}
}

// endRound ends a round: it retries later, from the oldest record on.
func (e *engine) endRound(c *actors.Context) {
	e.attempts = 0
	e.rounds++
	e.lane.each(func(x *entry) bool {
		again := x.aside
		x.aside = false
		return !again
	})
	e.broken(c, fmt.Errorf("it rejects all records: %s", cmp.Or(e.refusal, e.error)))
}

// searchBatch makes the oldest record that is not put aside the next batch.
func (e *engine) searchBatch() bool {
	e.entries, e.out, e.bytes, e.batch, e.origin = 0, 0, 0, nil, nil
	number := 0
	e.lane.each(func(x *entry) bool {
		e.lane.follow.Correct(&x.Record)
		if r, ok := e.table.Route(x.Record, far.Free); ok && !x.gone && !x.aside {
			e.bytes, e.batch, e.origin = x.size, []record.Record{r}, []int{number}
		}
		number++
		return len(e.batch) == 0
	})
	return len(e.batch) > 0
}

// searchDone handles the outcome of a batch made by seek.
func (e *engine) searchDone(c *actors.Context, err error) {
	if _, metered := e.sender.(far.Metered); !metered {
		e.spend(time.Now(), uint64(e.bytes), 0)
	}
	l := e.lane
	var rejected *far.RejectedError
	var partial *far.PartialError
	switch {
	case err == nil:
		l.soleFailures = 0
		e.had(c)
		e.noteAccepted()
	case errors.As(err, &rejected):
		l.soleFailures = 0
		e.wrong(err)
		x := l.at(e.origin[0])
		x.aside, x.refused = true, time.Now()
		e.search(c, err)
	case errors.As(err, &partial) && partial.Taken == 1:
		l.soleFailures = 0
		e.had(c)
		e.noteAccepted()
		e.broken(c, err)
	default:
		if l.soleFailures++; l.soleFailures >= anyProbeAfter && !errors.Is(err, context.DeadlineExceeded) {
			l.soleFailures = 0
			l.at(e.origin[0]).aside = true
		}
		e.broken(c, err)
	}
	e.release(c)
}

// had notes that the far end has accepted a record out of order.
func (e *engine) had(c *actors.Context) {
	e.lane.at(e.origin[0]).gone = true
	e.good = e.batch[0]
	e.acknowledged(c, 1)
	e.settleGone(c)
}
