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

// doubt is about a far end that refuses records: are they bad, and to be passed over, or does it refuse everything, as one does that is set up wrong, and
// would be given the backlog to throw away? A record is passed over when it is refused again after the far end has taken another one. So those behind are
// tried, one after another in their order, then the newest that it once took, and where there is none some from anywhere in the tracks, the newest first:
// more and more, with a pause in between, for ever. What was refused meanwhile waits aside; it is tried once more when something was taken, and none is lost
// that is taken then.
type doubt struct {
	vouched  time.Time // when it last took something after a refusal
	attempts int       // since the last pause
	rounds   int
	turn     int    // which record from anywhere is next
	refusal  string // the last one
}

const (
	believable = time.Minute // so long, and as long as two batches may take, it counts that something was taken
	firstRound = 20          // records that are tried before the first pause; twice as many before the next one
	mostRounds = 10
)

// believe says whether a refusal is of bad records. Else they are put aside until that is known.
func (e *engine) believe(c *actors.Context, m *far.Rejected) bool {
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

// vouch notes that the far end does take records: those it has refused are tried again, and what it says of them then is believed.
func (e *engine) vouch() {
	e.calm()
	e.vouched = time.Now()
}

// calm ends the search.
func (e *engine) calm() {
	e.vouched, e.attempts, e.rounds, e.turn, e.refusal = time.Time{}, 0, 0, 0, ""
	for _, l := range [...]*lane{&e.fresh, &e.main} {
		l.searching = false
		l.each(func(x *entry) bool {
			x.aside = false
			return true
		})
	}
}

// search looks for a record that the far end takes, after it has refused one; now and then with a pause that begins with the oldest one.
func (e *engine) search(c *actors.Context, refusal error) {
	var m *far.Rejected
	if e.refusal = refusal.Error(); errors.As(refusal, &m) {
		if e.refusal = m.Why; len(m.Records) > 0 {
			e.refusal = m.Records[0].Why
		}
	}
	l := e.lane
	l.searching, l.suspects, l.wary = true, 0, 1
	e.attempts++
	switch enough := e.attempts >= firstRound<<min(e.rounds, mostRounds); {
	case enough && e.good.Sequence > 0:
		l.probing = true
	case enough:
		e.despair(c)
	}
}

// despair has it tried again later, from the oldest one on.
func (e *engine) despair(c *actors.Context) {
	e.attempts = 0
	e.rounds++
	e.lane.each(func(x *entry) bool {
		again := x.aside
		x.aside = false
		return !again
	})
	e.broken(c, fmt.Errorf("it refuses everything: %s", cmp.Or(e.refusal, e.error)))
}

// seek makes the next batch the oldest record that is not put aside.
func (e *engine) seek() bool {
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

// sought takes in what has become of it.
func (e *engine) sought(c *actors.Context, err error) {
	if _, metered := e.sender.(far.Metered); !metered {
		e.spend(time.Now(), uint64(e.bytes), 0)
	}
	l := e.lane
	var rejected *far.Rejected
	var partial *far.Partial
	switch {
	case err == nil:
		l.lone = 0
		e.had(c)
		e.vouch()
	case errors.As(err, &rejected):
		l.lone = 0
		e.wrong(err)
		x := l.at(e.origin[0])
		x.aside, x.refused = true, time.Now()
		e.search(c, err)
	case errors.As(err, &partial) && partial.Taken == 1:
		l.lone = 0
		e.had(c)
		e.vouch()
		e.broken(c, err)
	default:
		if l.lone++; l.lone >= desperate && !errors.Is(err, context.DeadlineExceeded) {
			l.lone = 0
			l.at(e.origin[0]).aside = true
		}
		e.broken(c, err)
	}
	e.release(c)
}

// had notes that the far end has taken a record out of its turn.
func (e *engine) had(c *actors.Context) {
	e.lane.at(e.origin[0]).gone = true
	e.good = e.batch[0]
	e.acknowledged(c, 1)
	e.settleGone(c)
}
