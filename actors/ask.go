package actors

import (
	"slices"
	"time"

	"gatewayd/bus"
)

// asks are the requests of a life that have not been answered yet. It is used in the mailbox only.
type asks struct {
	open  bag[*Request]
	timer *time.Timer // one for all; the request it was set for may have been answered meanwhile
	at    time.Time   // when the timer fires; zero: it is not set
}

// wait registers r. It is called before r is sent.
func (l *life) wait(r *Request) {
	l.asks.open.add(r)
	l.wake(r.deadline)
}

// wake makes the life check for overdue answers at the given time, unless it does so earlier.
func (l *life) wake(at time.Time) {
	a := &l.asks
	if !a.at.IsZero() && !at.Before(a.at) {
		return
	}
	a.at = at
	if a.timer == nil {
		a.timer = time.AfterFunc(time.Until(at), func() { l.cell.post(overdue{l}) })
		return
	}
	a.timer.Reset(time.Until(at))
}

// overdue is the message that an answer may be overdue.
type overdue struct{ life *life }

func (m overdue) deliver(l *life) {
	if m.life != l {
		return
	}
	now := time.Now()
	var late []*Request
	next := time.Time{}
	for _, r := range l.asks.open {
		switch {
		case !now.Before(r.deadline):
			late = append(late, r)
		case next.IsZero() || r.deadline.Before(next):
			next = r.deadline
		}
	}
	if l.asks.at = (time.Time{}); !next.IsZero() {
		l.wake(next)
	}
	slices.SortFunc(late, func(a, b *Request) int { return a.deadline.Compare(b.deadline) })
	for _, r := range late {
		l.told(r, Failed{r.msg, bus.Errorf(bus.DeadlineExceeded, "%s did not answer within %s", r.peer, r.patience)})
	}
}

// answered is an answered request on its way back to the life that asked.
type answered Request

func (m *answered) deliver(l *life) {
	r := (*Request)(m)
	if r.asker != l {
		return
	}
	msg := r.outcome
	if r.failure != nil {
		msg = Failed{r.msg, r.failure}
	}
	l.told(r, msg)
}

// told passes the outcome of r to the actor, once.
func (l *life) told(r *Request, msg any) {
	if l.asks.open.remove(r) {
		r.part.drop()
		l.hand(msg, r.part)
	}
}
