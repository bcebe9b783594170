package uplink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/backoff"
	far "gatewayd/protocols/uplink"
)

// line is the connection to the far end.
type line struct {
	sender   far.Sender // nil: not connected
	up       time.Time  // when it was established
	number   int        // of the connection or of the attempt; results of an earlier one are ignored
	dialling bool
	dialled  time.Time // when the attempt began
	awaits   string    // what the attempt is waiting for, if known
	gone     error     // why the connection has ended, if it has
	stale    bool      // the config has changed: connect anew
	failures int       // consecutive failures, of attempts to connect and of batches
	tryAt    time.Time // no attempt before that time
	resting  string    // why nothing is sent: quiet hours or budget; empty: it may be sent
	paused   time.Time // the store is not read before that time
	reopen   bool      // the selection of tracks has changed
	trouble  string    // last error of the store
	error    string    // last error of the far end
	failed   time.Time
}

const dialTime = 30 * time.Second

type (
	connected struct {
		number int
		sender far.Sender
		err    error
	}
	lost struct {
		number int
		err    error
	}
	awaits struct {
		number int
		why    string
	}
)

// connect establishes the connection when one is needed and closes it when none is.
func (e *engine) connect(c *actors.Context) {
	now := time.Now()
	e.rest(c, now)
	if (e.stale || e.resting != "" || !e.remembers()) && e.sender != nil && !e.sending {
		e.hangUp(c)
	}
	if e.resting != "" || e.sender != nil || e.dialling || e.sending || !e.remembers() || !e.looked || e.tryAt.After(now) {
		return
	}
	e.gone, e.stale, e.dialling, e.dialled, e.awaits = nil, false, true, time.Now(), ""
	e.number++
	number, post, dial := e.number, c.Post(), e.far.Dial
	hear := far.Callbacks{
		Lost:    func(err error) { _ = post(lost{number, err}) },
		Waiting: func(why string) { _ = post(awaits{number, why}) },
		Command: func(m far.Command) {
			if err := post(command{m}); err != nil && m.Answer != nil {
				m.Answer(nil, err)
			}
		},
	}
	limit := e.far.Limit
	if limit == 0 {
		limit = dialTime
	}
	c.Do(limit, func(ctx context.Context) (any, error) {
		s, err := dial(ctx, hear)
		return connected{number, s, err}, nil
	})
}

// rest checks the quiet hours and the budget.
func (e *engine) rest(c *actors.Context, now time.Time) {
	was := e.resting
	e.resting = ""
	if until, quiet := e.hours.Until(now); quiet {
		if e.resting = "quiet hours until " + until.Format("15:04"); until.Sub(now) > 24*time.Hour-time.Minute {
			e.resting = "quiet hours, all day"
		}
		if e.resting != was {
			c.OK()
		}
	}
	if bytes, records, until := e.spent.Room(e.limits, now); bytes == 0 || records == 0 {
		e.resting = "the data budget is used up until " + until.Local().Format("2006-01-02 15:04")
		if e.resting != was {
			c.Degraded(e.resting)
		}
	}
}

// waits handles a report of what an attempt to connect is waiting for.
func (e *engine) waits(c *actors.Context, m awaits) {
	if m.number == e.number && e.dialling {
		e.awaits = m.why
		c.Unreachable(m.why)
	}
}

func (e *engine) connected(c *actors.Context, m connected) {
	e.dialling = false
	if m.err != nil {
		e.fail(c, m.err)
		return
	}
	c.Own(m.sender)
	e.sender, e.up, e.meter = m.sender, time.Now(), traffic{}
	e.counts.Connections++
	if e.failures == 0 {
		c.OK()
	}
}

// over closes a connection that does not work.
func (e *engine) over(c *actors.Context, err error) {
	if time.Since(e.up) > e.cfg.MaxBackoff.AsDuration() { // it worked for a while
		e.failures = 0
	}
	e.hangUp(c)
	e.fail(c, err)
}

// hangUp closes the connection.
func (e *engine) hangUp(c *actors.Context) {
	e.count()
	c.Close(e.sender)
	e.sender, e.gone = nil, nil
	if e.reader != nil && !e.reading {
		e.reader.Shed()
	}
	e.number++ // messages of the old connection are ignored from now on
}

// fail schedules the next attempt to connect.
func (e *engine) fail(c *actors.Context, err error) {
	e.failures++
	var later far.RetryAfterError
	var wanted time.Duration
	if errors.As(err, &later) {
		wanted = time.Duration(later.RetryAfter()) * time.Second
	}
	d, now := max(backoff.Pause(e.failures, backoff.Far, e.cfg.MaxBackoff.AsDuration()), wanted), time.Now()
	e.wrong(err)
	if wanted >= time.Minute {
		e.error += "; it asks for no new attempt before " + now.Add(wanted).Format("2006-01-02 15:04")
	}
	e.tryAt = now.Add(d)
	c.Unreachable(e.error)
	c.After(d, again{})
}

// wrong notes an error of the far end.
func (e *engine) wrong(err error) {
	e.error, e.failed = err.Error(), time.Now()
	if hint := advice(err); hint != "" {
		e.error += "; " + hint
	}
	switch { // replace these errors by a sentence, unless they are wrapped in other words
	case strings.HasSuffix(e.error, context.DeadlineExceeded.Error()):
		e.error = fmt.Sprintf("%s does not answer in time", e.far.Where)
	case strings.HasSuffix(e.error, io.EOF.Error()):
		e.error = fmt.Sprintf("%s has closed the connection", e.far.Where)
	}
}
