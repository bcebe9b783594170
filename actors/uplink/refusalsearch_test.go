package uplink_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors/actorstest"
	"gatewayd/actors/actorstest/uplinktest"
	"gatewayd/protocols/record"
	far "gatewayd/protocols/uplink"
)

// The far end refuses a long run of records, in each possible way, and its link breaks. All other
// records arrive, and no other is skipped.
func TestRunsOfBadRecordsWithAccounting(t *testing.T) {
	const bad = 45
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 3))
			r := actorstest.New(t)
			w := uplinktest.NewRecorder(t, r)
			isBad := func(x record.Record) bool { return x.Track == "tracks/a" && x.Sequence > 10 && x.Sequence <= 10+bad }
			f := &cloud{take: func(c *cloud, b []record.Record) error {
				var refused []far.Refusal
				for i, x := range b {
					if isBad(x) {
						refused = append(refused, far.Refusal{Index: i, Why: "bad"})
					}
				}
				switch fault := rnd.IntN(10); {
				case fault == 0:
					return errors.New("closed")
				case len(refused) > 0 && fault < 4:
					return &far.RejectedError{Why: "something is bad"}
				case len(refused) > 0 && fault < 7:
					return &far.RejectedError{Records: refused}
				case len(refused) > 0:
					c.got = append(c.got, slices.DeleteFunc(slices.Clone(b), isBad)...)
					return &far.RejectedError{Records: refused, Taken: true}
				}
				c.got = append(c.got, b...)
				return nil
			}}
			cfg := config()
			cfg.Send.MaxBackoff, cfg.Send.BatchRecords = durationpb.New(time.Millisecond), 10
			if seed%2 == 1 {
				cfg.Send.CatchUpOrder = "fresh-first"
			}
			w.Write("tracks/a", 10+bad)
			cell := r.Start(path, f.kind(), cfg)
			w.Write("tracks/b", 5, 20)
			w.Write("tracks/a", 1, 40)
			w.Write("tracks/b", 15)
			r.Until("all is settled", func() bool {
				s := uplinktest.Status(t, r, path)
				// The backlog does not include what was recorded after its last measurement.
				last := func(track string) bool {
					return slices.Contains(f.sequences(track), w.Recorded()[track])
				}
				return s.Begun && s.Backlog.Records == 0 && s.Counts.Rejected >= bad && last("tracks/a") && last("tracks/b")
			})
			for track, n := range w.Recorded() {
				got := f.sequences(track)
				slices.Sort(got)
				want := slices.DeleteFunc(uplinktest.UpTo(n), func(s uint64) bool { return isBad(record.Record{Track: track, Sequence: s}) })
				if !slices.Equal(slices.Compact(got), want) {
					t.Errorf("%s: %v", track, got)
				}
			}
			if s := uplinktest.Status(t, r, path); s.Counts.Rejected != bad || s.Counts.Lost != 0 || cell.Life() != 1 {
				t.Errorf("life %d, %v", cell.Life(), s.Counts)
			}
		})
	}
}

// A far end that has accepted a record after a refusal, and then refuses everything for a while:
// only the records it refused before are skipped.
func TestAFarEndThatRefusesEverythingAfterARecord(t *testing.T) {
	r := actorstest.New(t)
	w := uplinktest.NewRecorder(t, r)
	refusals := 0
	f := &cloud{take: func(c *cloud, b []record.Record) error {
		bad := slices.ContainsFunc(b, func(x record.Record) bool { return x.Sequence == 1 })
		if bad || len(c.got) == 1 && refusals < 20 {
			refusals++
			return &far.RejectedError{Why: "413 Request Entity Too Large"}
		}
		c.got = append(c.got, b...)
		return nil
	}}
	w.Write("tracks/a", 60)
	cfg := config()
	cfg.Send.MaxBackoff, cfg.Send.BatchRecords = durationpb.New(time.Millisecond), 5
	r.Start(path, f.kind(), cfg)
	r.Until("nothing is left", func() bool { s := uplinktest.Status(t, r, path); return s.Begun && s.Backlog.Records == 0 })
	got := f.sequences("tracks/a")
	slices.Sort(got)
	if s := uplinktest.Status(t, r, path); s.Counts.Rejected != 1 || !slices.Equal(slices.Compact(got), uplinktest.UpTo(60)[1:]) {
		t.Errorf("%v there, %v", got, s.Counts)
	}
}
