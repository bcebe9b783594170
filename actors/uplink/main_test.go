package uplink_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/uplink"
	"gatewayd/bus"
	"gatewayd/protocols/record"
	far "gatewayd/protocols/uplink"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

func TestMain(m *testing.M) { actorstest.Main(m) }

const path = "uplinks/cloud"

// cloud is a far end that notes what it gets and does with it as the test says.
type cloud struct {
	mu       sync.Mutex
	got      []record.Record
	batches  int
	dials    int
	hear     far.Hear
	configs  []string                                // of each connection
	dial     func(n int) error                       // nil: it can be reached
	take     func(c *cloud, b []record.Record) error // nil: all of it
	traffic  uint64
	released chan struct{} // closed: Send does not wait any more; nil: it never does
}

func (f *cloud) kind() actors.Kind {
	return uplink.Define(actors.Kind{Name: "uplink-test", Doc: "is for tests"}, func(_ uplink.Who, cfg *uplinkv1.UplinkHttp) (uplink.Far, error) {
		return uplink.Far{Where: "test://cloud", Dial: func(_ context.Context, hear far.Hear) (far.Sender, error) {
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

// sequences are those of one track, in the order in which they came.
func (f *cloud) sequences(track string) (all []uint64) {
	for _, r := range f.all() {
		if r.Track == track {
			all = append(all, r.Sequence)
		}
	}
	return all
}

func config() *uplinkv1.UplinkHttp {
	return &uplinkv1.UplinkHttp{Url: "http://cloud", Send: &uplinkv1.Sending{Flush: durationpb.New(0), Retry: durationpb.New(10 * time.Millisecond)}}
}

// recorder writes tracks into the store of a rig.
type recorder struct {
	t    *testing.T
	conn *bus.Conn
	next map[string]uint64
}

func record1(t *testing.T, r *actorstest.Rig) *recorder {
	return &recorder{t, r.Bus, map[string]uint64{}}
}

// write stores chunks of so many records each of one track, one after another.
func (w *recorder) write(track string, chunks ...int) {
	w.t.Helper()
	done := make(chan error, len(chunks))
	for _, n := range chunks {
		first := w.next[track] + 1
		w.next[track] += uint64(n)
		c := record.Chunk{Track: track, Number: 1, First: first, Count: uint64(n), Boot: "boot"}
		for i := range n {
			s := first + uint64(i)
			c.Records = append(c.Records, record.Record{
				Track: track, Number: 1, Sequence: s, Time: time.Unix(1_800_000_000+int64(s), 0), Trusted: true, Boot: "boot", Uptime: time.Duration(s) * time.Second,
				Fields: []record.Field{{Name: "power", ID: 1, Unit: "kW", Value: float64(s)}, {Name: "user", ID: 2, Value: fmt.Sprint("u", s)}},
			})
		}
		p, err := record.Encode(&c)
		if err != nil {
			w.t.Fatal(err)
		}
		w.conn.Keep(bus.Subject(actorstest.Gateway, bus.Track, track, "records"), record.ChunkType, p, bus.Normal, func(_ uint64, err error) { done <- err })
		if err := actorstest.Next(w.t, done); err != nil {
			w.t.Fatal(err)
		}
	}
}

func status(t *testing.T, r *actorstest.Rig) *uplinkv1.Status {
	t.Helper()
	m, err := actorstest.Call(r, path, "Status", &uplinkv1.StatusRequest{}, &uplinkv1.StatusResponse{})
	if err != nil {
		t.Fatal(err)
	}
	return m.Status
}

// upTo are the sequences from 1.
func upTo(n uint64) (all []uint64) {
	for i := range n {
		all = append(all, i+1)
	}
	return all
}
