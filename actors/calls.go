package actors

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/bus"
	actorv1 "gatewayd/schemas/actor/v1"
)

// A Judge returns why a caller may not make a call to a topic, cmd/<path>/<Method>; nil: it may. It
// is asked about every call, through whichever door: when the call arrives and, with waited set,
// again before the actor serves it. It is called from many goroutines at once.
type Judge func(w Caller, topic string, waited bool) error

// Outcome is the outcome of a call, through whichever door it came.
type Outcome struct {
	Began  time.Time
	Took   time.Duration
	Path   string // the called actor, which may not exist
	Method string
	Caller Caller
	Err    error // see Explain; nil: the call was answered

	OwnEvent bool // the actor publishes an event about it, see Request.OwnEvent
}

// MethodStats count the calls of one method of an actor, over all its lives.
type MethodStats struct {
	Method        string
	Calls, Errors uint64
	Time          time.Duration // total of all calls, each from its arrival to its last answer
	LastError     string
}

// Judge makes j judge every call of the gateway from now on, also between two lives of this actor,
// until the actor is removed from the config.
func (c *Context) Judge(j Judge) { c.l.cell.sys.calls.setJudge(c.l.cell.path, j) }

// Outcomes makes each be called with the outcome of every call of the gateway, until this life
// ends. It is called in the goroutine that answers and must not block.
func (c *Context) Outcomes(each func(Outcome)) {
	c.l.stops = append(c.l.stops, c.l.cell.sys.calls.hear(each))
}

// calls holds the judges of calls and the listeners to their outcomes.
type calls struct {
	mu     sync.Mutex
	judges map[string]Judge
	judged atomic.Pointer[[]Judge] // the values of judges, for reading without the lock
	ears   map[*func(Outcome)]bool
	heard  atomic.Pointer[[]func(Outcome)] // the keys of ears, for reading without the lock
}

func (s *calls) setJudge(path string, j Judge) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.judges == nil {
		s.judges = map[string]Judge{}
	}
	if delete(s.judges, path); j != nil {
		s.judges[path] = j
	}
	all := slices.Collect(maps.Values(s.judges))
	s.judged.Store(&all)
}

func (s *calls) hear(each func(Outcome)) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ears == nil {
		s.ears = map[*func(Outcome)]bool{}
	}
	s.ears[&each] = true
	s.listen()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.ears, &each)
		s.listen()
	}
}

func (s *calls) listen() {
	var all []func(Outcome)
	for each := range s.ears {
		all = append(all, *each)
	}
	s.heard.Store(&all)
}

// judge asks all judges about a call.
func (s *calls) judge(w Caller, topic string, waited bool) error {
	all := s.judged.Load()
	if all == nil {
		return nil
	}
	for _, j := range *all {
		if err := j(w, topic, waited); err != nil {
			return err
		}
	}
	return nil
}

// over counts a call that has ended, publishes its span and informs the listeners of Outcomes.
func (s *System) over(call *incoming, err error) {
	o := Outcome{Began: call.began, Took: time.Since(call.began), Path: call.path, Method: call.method, Caller: call.caller, Err: err, OwnEvent: call.request.ownEvent.Load()}
	cell, ok := call.cell, call.cell != nil
	if !ok { // it was refused before its actor was looked up
		cell, _, ok = s.find(call.path, call.method)
	}
	if ok {
		cell.count(o)
		s.span(call, o)
	}
	if all := s.calls.heard.Load(); all != nil {
		for _, each := range *all {
			each(o)
		}
	}
}

// span publishes a call as a span on trace/<path>/span if anybody listens there.
func (s *System) span(call *incoming, o Outcome) {
	b, ok := s.Bus.(interface{ Heard(subject string) bool })
	if !ok || o.Caller.Trace == "" {
		return
	}
	subject := bus.Subject(s.Gateway, bus.Trace, o.Path, "span")
	if !b.Heard(subject) {
		return
	}
	m := &actorv1.Span{
		Trace: o.Caller.Trace, Span: o.Caller.Span, Parent: call.parent, Caller: o.Caller.Identity, Name: o.Path + "/" + o.Method,
		Start: timestamppb.New(o.Began), Took: durationpb.New(o.Took.Round(time.Microsecond)),
	}
	if o.Err != nil {
		m.Code, m.Message = Explain(o.Err)
	}
	_ = s.Bus.Publish(subject, m) // a lost span does no harm
}

func (c *Cell) count(o Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.called == nil {
		c.called = map[string]*MethodStats{}
	}
	m := c.called[o.Method]
	if m == nil {
		m = &MethodStats{Method: o.Method}
		c.called[o.Method] = m
	}
	m.Calls++
	m.Time += o.Took
	if o.Err != nil {
		m.Errors++
		m.LastError = o.Err.Error()
	}
}

// Called returns the counters of the methods that have been called, sorted by name.
func (c *Cell) Called() []MethodStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]MethodStats, 0, len(c.called))
	for _, m := range c.called {
		all = append(all, *m)
	}
	slices.SortFunc(all, func(a, b MethodStats) int { return strings.Compare(a.Method, b.Method) })
	return all
}
