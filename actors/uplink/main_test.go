package uplink_test

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/uplink"
	"gatewayd/protocols/record"
	far "gatewayd/protocols/uplink"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

func TestMain(m *testing.M) { actorstest.Main(m) }

const path = "uplinks/cloud"

// cloud is a far end that records what it gets and behaves as the test says.
type cloud struct {
	mu       sync.Mutex
	got      []record.Record
	batches  int
	dials    int
	hear     far.Callbacks
	configs  []string                                // of each connection
	dial     func(n int) error                       // nil: it can be reached
	take     func(c *cloud, b []record.Record) error // nil: it takes everything
	traffic  uint64
	watch    time.Duration // 0: the default for tests
	released chan struct{} // closed: Send no longer waits; nil: it never waits
}

func (f *cloud) kind() actors.Kind {
	return uplink.Define(actors.Kind{Name: "uplink-test", Doc: "is for tests"}, func(_ uplink.Instance, cfg *uplinkv1.UplinkHttp) (uplink.Far, error) {
		return uplink.Far{Where: "test://cloud", Watch: cmp.Or(f.watch, 200*time.Millisecond), Dial: func(_ context.Context, hear far.Callbacks) (far.Sender, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.dials++
			if f.dial != nil {
				if err := f.dial(f.dials); err != nil {
					return nil, err
				}
			}
			f.hear = hear
			f.configs = append(f.configs, cfg.Url)
			return sender{f}, nil
		}}, nil
	})
}

type sender struct{ *cloud }

func (s sender) Close() error { return nil }

func (s sender) Send(ctx context.Context, batch []record.Record) error {
	if s.released != nil {
		select {
		case <-s.released:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches++
	if s.take != nil {
		return s.take(s.cloud, batch)
	}
	s.got = append(s.got, batch...)
	return nil
}

func (s sender) Traffic() (uint64, uint64) { s.mu.Lock(); defer s.mu.Unlock(); return s.traffic, 0 }

func (f *cloud) all() []record.Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.got)
}

// sequences returns the sequences of one track in order of arrival.
func (f *cloud) sequences(track string) (all []uint64) {
	for _, r := range f.all() {
		if r.Track == track {
			all = append(all, r.Sequence)
		}
	}
	return all
}

func config() *uplinkv1.UplinkHttp {
	return &uplinkv1.UplinkHttp{Url: "http://cloud", Send: &uplinkv1.Sending{Flush: durationpb.New(0), MaxBackoff: durationpb.New(10 * time.Millisecond)}}
}
