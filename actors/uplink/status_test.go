package uplink_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/actorstest/uplinktest"
	"gatewayd/actors/uplink"
	"gatewayd/protocols/record"
	far "gatewayd/protocols/uplink"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// The status is true at the moment it is given: what waits when sending begins, that nothing waits
// when all is sent, and when that was.
func TestWhatIsTold(t *testing.T) {
	t.Parallel()
	r := actorstest.New(t)
	told := actorstest.Watch(r, "state/"+path+"/uplink", &uplinkv1.Status{})
	f := &cloud{released: make(chan struct{})}
	uplinktest.NewRecorder(t, r).Write("tracks/a", 7)
	r.Start(path, f.kind(), config())
	s := actorstest.NextWhere(t, told, func(s *uplinkv1.Status) bool { return s.State == "sending" })
	if b := s.Backlog; b.Records != 7 || b.Bytes == 0 || b.Oldest.AsTime().Unix() != 1_800_000_000 || s.Acknowledged != nil {
		t.Errorf("it begins to send, and says %v", s)
	}
	close(f.released)
	s = actorstest.NextWhere(t, told, func(s *uplinkv1.Status) bool { return s.Counts.Acknowledged > 0 })
	if s.State != "sending" || s.Counts.Acknowledged != 7 || s.Backlog.Records != 0 || s.Acknowledged == nil {
		t.Errorf("it has sent all, and says %v", s)
	}
	at := s.Acknowledged.AsTime()
	s = actorstest.NextWhere(t, told, func(s *uplinkv1.Status) bool { return s.State == "idle" })
	if !s.Acknowledged.AsTime().Equal(at) {
		t.Errorf("it has nothing to do, and says that it was acknowledged at %v, which was at %v", s.Acknowledged.AsTime(), at)
	}
}

// No estimate of the catch-up time is given while nothing can be sent.
func TestNoTimeIsToldWhileNothingGoes(t *testing.T) {
	t.Parallel()
	r := actorstest.New(t)
	w := uplinktest.NewRecorder(t, r)
	for range 60 {
		w.Write("tracks/a", 10)
	}
	var away atomic.Bool
	broken := func() error {
		if away.Load() {
			return errors.New("no route to host")
		}
		return nil
	}
	f := &cloud{watch: time.Second, dial: func(int) error { return broken() }, take: func(c *cloud, b []record.Record) error {
		c.got = append(c.got, b...)
		return broken()
	}}
	cfg := config()
	cfg.Send.BatchRecords, cfg.Send.CatchUp = 10, 20
	r.Start(path, f.kind(), cfg)
	r.Until("it catches up", func() bool { return uplinktest.Status(t, r, path).CatchUp != nil })
	away.Store(true)
	r.Until("it knows no time any more", func() bool {
		s := uplinktest.Status(t, r, path)
		return s.Connected == nil && s.Backlog.Records > 0 && s.CatchUp == nil
	})
}

// For an uplink that has not been offline for long, the status soon shows what has come since.
func TestWhatWaitsIsToldSoon(t *testing.T) {
	t.Parallel()
	r := actorstest.New(t)
	told := actorstest.Watch(r, "state/"+path+"/uplink", &uplinkv1.Status{})
	w := uplinktest.NewRecorder(t, r)
	w.Write("tracks/a", 2)
	f := &cloud{dial: func(int) error { return errors.New("no route to host") }}
	r.Start(path, f.kind(), config())
	waits := func(n uint64) {
		actorstest.NextWhere(t, told, func(s *uplinkv1.Status) bool { return s.Backlog.Records == n })
	}
	waits(2)
	began := time.Now()
	w.Write("tracks/a", 100)
	waits(102)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it is told after %s", took)
	}
}

// While a far end waits for something during connecting, the status says for what.
func TestWhatIsAwaitedIsTold(t *testing.T) {
	t.Parallel()
	r := actorstest.New(t)
	there := make(chan struct{})
	f := &cloud{}
	kind := uplink.Define(actors.Kind{Name: "uplink-test", Doc: "is for tests"}, func(uplink.Instance, *uplinkv1.UplinkHttp) (uplink.Far, error) {
		return uplink.Far{Where: "test://cloud", Watch: 200 * time.Millisecond, Dial: func(ctx context.Context, hear far.Callbacks) (far.Sender, error) {
			hear.Waiting("the host is offline")
			select {
			case <-there:
				return sender{f}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}}, nil
	})
	uplinktest.NewRecorder(t, r).Write("tracks/a", 2)
	cell := r.Start(path, kind, config())
	r.Until("it is told", func() bool {
		s := uplinktest.Status(t, r, path)
		return s.State == "connecting" && s.Why == "the host is offline" && cell.State() == actors.Unreachable && cell.Health().Cause == s.Why
	})
	close(there)
	r.Until("all is well", func() bool {
		return len(f.all()) == 2 && cell.State() == actors.OK && uplinktest.Status(t, r, path).Why == ""
	})
}
