package daemon

import (
	"context"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/bus"
	"gatewayd/protocols/clock"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	uplinkv1 "gatewayd/schemas/uplink/v1"
	"gatewayd/supervisor"
)

// A gateway reports its standing to its fleet: at once when its health or its connection changes,
// at most every standingPause when anything else changes, and at least every standingAlive, by
// which the hub knows that it is there.
const (
	standingLook  = time.Second
	standingPause = 15 * time.Second
	standingAlive = time.Minute
)

// teller reports the standing of this gateway to the fleet.
type teller struct {
	d       *Gateway
	started time.Time
	linked  time.Time // since when it is connected; zero: it is not
	links   uint32
	said    *gatewayv1.Standing
	at      time.Time

	mu      sync.Mutex
	waiting map[string]uint64 // waiting records by path of the uplink
}

// tellFleet reports until stop is called, which waits for the end.
func (d *Gateway) tellFleet() (stop func(), err error) {
	t := &teller{d: d, started: time.Now(), waiting: map[string]uint64{}}
	deaf, err := d.Bus.Conn().Subscribe("gw."+d.Bus.Gateway()+".state.>", t.hear)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { t.run(ctx) })
	return func() {
		deaf()
		cancel()
		done.Wait()
	}, nil
}

// hear takes the number of waiting records from the status of an uplink.
func (t *teller) hear(m bus.Msg) {
	a, err := bus.ParseSubject(m.Subject)
	if err != nil || a.Leaf != "uplink" {
		return
	}
	s := &uplinkv1.Status{}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(m.Data) == 0 || m.Decode(s) != nil {
		delete(t.waiting, a.Path)
		return
	}
	t.waiting[a.Path] = s.Backlog.GetRecords()
}

func (t *teller) run(ctx context.Context) {
	t.look(time.Now())
	clock.Regularly(ctx, standingLook, t.look)
}

// look reports the standing if it is due.
func (t *teller) look(now time.Time) {
	switch up := t.d.Bus.Hub(); {
	case up && t.linked.IsZero():
		t.linked = now
		t.links++
	case !up:
		t.linked = time.Time{}
	}
	is := t.standing()
	urgent := t.said == nil || is.Health != t.said.Health || !proto.Equal(is.Linked, t.said.Linked)
	if since := now.Sub(t.at); urgent || since >= standingAlive || since >= standingPause && !proto.Equal(is, t.said) {
		if t.d.Bus.Conn().Publish(bus.Subject(t.d.Bus.Gateway(), bus.State, "bus", bus.Standing), is) == nil {
			t.said, t.at = is, now
		}
	}
}

func (t *teller) standing() *gatewayv1.Standing {
	s := &gatewayv1.Standing{Version: actors.Build(), Started: timestamppb.New(t.started), Links: t.links}
	if !t.linked.IsZero() {
		s.Linked = timestamppb.New(t.linked)
	}
	for _, c := range t.d.system.Cells() {
		s.Actors++
		if c.State() != actors.OK {
			s.Unwell++
		}
		if c.Path() == supervisor.Root {
			h := c.Health()
			s.Health, s.Cause, s.Since = h.State, h.Cause, h.Since
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.waiting {
		s.Backlog = max(s.Backlog, n)
	}
	return s
}
