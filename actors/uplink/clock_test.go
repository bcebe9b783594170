package uplink_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"gatewayd/actors/actorstest"
	"gatewayd/actors/actorstest/uplinktest"
	"gatewayd/bus"
	"gatewayd/protocols/record"
)

// keepAt stores a chunk of one record, from a boot whose clock started in 1970 and was corrected
// later.
func keepAt(t *testing.T, r *actorstest.Rig, sequence uint64, at time.Time, right bool) {
	t.Helper()
	c := &record.Chunk{Number: 1, First: sequence, Count: 1, Boot: "0f0e0d0c-0b0a-0908-0706-050403020100", Records: []record.Record{{
		Track: "tracks/a", Number: 1, Sequence: sequence, Boot: "0f0e0d0c-0b0a-0908-0706-050403020100", Time: at, Trusted: right, Uptime: time.Duration(sequence) * time.Second,
		Fields: []record.Field{{Name: "power", ID: 1, Value: 1.0}},
	}}}
	p, err := record.Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	r.Bus.Keep(bus.Subject(actorstest.Gateway, bus.Track, "tracks/a", "records"), record.ChunkType, p, bus.Normal, func(_ uint64, err error) { done <- err })
	if err := actorstest.Next(t, done); err != nil {
		t.Fatal(err)
	}
}

// Records stored before the clock was set are sent with the corrected time once it is known. They
// may still be on disk then, or already read by the uplink while the far end accepted nothing.
func TestTimesAreRightOnceTheClockIs(t *testing.T) {
	right := time.Unix(1_800_000_000, 0)
	for name, before := range map[string]bool{"on the disk": false, "in its hands": true} {
		t.Run(name, func(t *testing.T) {
			r := actorstest.New(t)
			var refused atomic.Int32
			var takes atomic.Bool
			f := &cloud{}
			f.take = func(c *cloud, b []record.Record) error {
				if !takes.Load() {
					refused.Add(1)
					return errors.New("service unavailable")
				}
				c.got = append(c.got, b...)
				return nil
			}
			cfg := config()
			cfg.Send.BatchRecords = 1
			for s := range uint64(3) {
				keepAt(t, r, s+1, time.Unix(int64(s)+1, 0), false)
			}
			if before {
				r.Start(path, f.kind(), cfg)
				r.Until("it has tried to send", func() bool { return refused.Load() > 0 })
			}
			keepAt(t, r, 4, right.Add(4*time.Second), true)
			if !before {
				r.Start(path, f.kind(), cfg)
			}
			r.Until("it has seen that the clock is right", func() bool { s := uplinktest.Status(t, r, path); return s.Begun && s.Backlog.Peak >= 4 })
			tried := refused.Load()
			r.Until("it has tried again", func() bool { return !before || refused.Load() > tried+1 })
			takes.Store(true)
			r.Until("all is there", func() bool { return len(f.sequences("tracks/a")) == 4 })
			for _, x := range f.all() {
				if want := right.Add(time.Duration(x.Sequence) * time.Second); !x.Trusted || !x.Time.Equal(want) {
					t.Errorf("record %d is of %v, want %v", x.Sequence, x.Time, want)
				}
			}
		})
	}
}
