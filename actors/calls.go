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

// An AuthorizeFunc returns why a caller may not make a call to a topic, cmd/<path>/<Method>; nil:
// it may. It is asked about every call, through whichever door: when the call arrives and, with
// waited set, again before the actor serves it. It is called from many goroutines at once.
type AuthorizeFunc func(w Caller, topic string, waited bool) error

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

// SetAuthorizer makes j authorize every call of the gateway from now on, also between two lives of
// this actor, until the actor is removed from the config.
func (c *Context) SetAuthorizer(j AuthorizeFunc) { c.l.cell.sys.calls.setAuthorizer(c.l.cell.path, j) }

// Outcomes makes each be called with the outcome of every call of the gateway, until this life
// ends. It is called in the goroutine that answers and must not block.
func (c *Context) Outcomes(each func(Outcome)) {
	c.l.stops = append(c.l.stops, c.l.cell.sys.calls.hear(each))
}

// calls holds the authorizers of calls and the listeners to their outcomes.
type calls struct {
	mu             sync.Mutex
	authorizers    map[string]AuthorizeFunc
	authorizersNow atomic.Pointer[[]AuthorizeFunc] // the values of authorizers, for reading without the lock
	listeners      map[*func(Outcome)]bool
	listenersNow   atomic.Pointer[[]func(Outcome)] // the keys of listeners, for reading without the lock
}

func (s *calls) setAuthorizer(path string, j AuthorizeFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.authorizers == nil {
		s.authorizers = map[string]AuthorizeFunc{}
	}
	if delete(s.authorizers, path); j != nil {
		s.authorizers[path] = j
	}
	all := slices.Collect(maps.Values(s.authorizers))
	s.authorizersNow.Store(&all)
}

func (s *calls) hear(each func(Outcome)) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listeners == nil {
		s.listeners = map[*func(Outcome)]bool{}
	}
	s.listeners[&each] = true
	s.listen()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.listeners, &each)
		s.listen()
	}
}

func (s *calls) listen() {
	var all []func(Outcome)
	for each := range s.listeners {
		all = append(all, *each)
	}
	s.listenersNow.Store(&all)
}

// authorize asks all authorizers about a call.
func (s *calls) authorize(w Caller, topic string, waited bool) error {
	all := s.authorizersNow.Load()
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
	if all := s.calls.listenersNow.Load(); all != nil {
		for _, each := range *all {
			each(o)
		}
	}
}

// span publishes a call as a span on trace/<path>/span if anybody listens there.
func (s *System) span(call *incoming, o Outcome) {
	b, ok := s.Bus.(subscriberChecker)
	if !ok || o.Caller.Trace == "" {
		return
	}
	subject := bus.Subject(s.Gateway, bus.Trace, o.Path, "span")
	if !b.HasSubscribers(subject) {
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
