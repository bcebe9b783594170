package uplink_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/actorstest/uplinktest"
	"gatewayd/bus"
	"gatewayd/protocols/record"
	far "gatewayd/protocols/uplink"
	"gatewayd/schemas"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

func TestWhatWasRecordedIsSentOnce(t *testing.T) {
	r := actorstest.New(t)
	w := uplinktest.NewRecorder(t, r)
	w.Write("tracks/a", 10, 1, 200)
	w.Write("tracks/b", 3)
	f := &cloud{}
	cell := r.Start(path, f.kind(), config())
	r.Until("all is there", func() bool { return len(f.sequences("tracks/a")) == 211 && len(f.sequences("tracks/b")) == 3 })
	w.Write("tracks/b", 2) // while it runs
	r.Until("what is new is there", func() bool { return len(f.sequences("tracks/b")) == 5 })
	r.Until("nothing is left", func() bool { return uplinktest.Status(t, r, path).Backlog.Records == 0 })
	s := uplinktest.Status(t, r, path)
	if s.State != "sending" && s.State != "idle" || s.Counts.Acknowledged != 216 || s.Far != "test://cloud" || s.Acknowledged == nil || cell.State() != actors.OK {
		t.Errorf("%v", s)
	}
	r.Stop(cell)
	cell.Remove()
	w.Write("tracks/a", 5)
	r.Start(path, f.kind(), config())
	r.Until("the rest is there", func() bool { return len(f.sequences("tracks/a")) == 216 })
	if a, b := f.sequences("tracks/a"), f.sequences("tracks/b"); !slices.Equal(a, uplinktest.UpTo(216)) || !slices.Equal(b, uplinktest.UpTo(5)) {
		t.Errorf("%v %v", a, b)
	}
	if got := f.all()[0]; got.Time.Unix() != 1_800_000_000 || len(got.Fields) != 2 || got.Fields[0].Value != 1.0 {
		t.Errorf("%+v", got)
	}
}

// A connection that ends together with the last acknowledgement is established again before there
// is anything else to send.
func TestTheEndBehindTheLastAcknowledgement(t *testing.T) {
	r := actorstest.New(t)
	w := uplinktest.NewRecorder(t, r)
	f := &cloud{take: func(c *cloud, b []record.Record) error {
		if c.got = append(c.got, b...); c.batches == 1 {
			c.hear.Lost(errors.New("closed"))
		}
		return nil
	}}
	r.Start(path, f.kind(), config())
	w.Write("tracks/a", 5)
	r.Until("it is connected again", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.dials == 2
	})
	r.Until("all is there", func() bool { return slices.Equal(f.sequences("tracks/a"), uplinktest.UpTo(5)) })
}

func TestANewUplinkBeginsWhereItIsTold(t *testing.T) {
	r := actorstest.New(t)
	w := uplinktest.NewRecorder(t, r)
	w.Write("tracks/a", 5)
	f := &cloud{}
	cfg := config()
	cfg.Send.Begin = "now"
	cell := r.Start(path, f.kind(), cfg)
	r.Until("it is there", func() bool {
		return cell.State() == actors.OK && uplinktest.Status(t, r, path).Backlog != nil && r.Bus != nil && f.reading(t, r)
	})
	w.Write("tracks/a", 5)
	r.Until("what is new is there", func() bool { return len(f.sequences("tracks/a")) == 5 })
	if got := f.sequences("tracks/a"); !slices.Equal(got, []uint64{6, 7, 8, 9, 10}) {
		t.Error(got)
	}
}

// reading reports whether the uplink has opened its read position, so that it knows that nothing
// waits.
func (f *cloud) reading(t *testing.T, r *actorstest.Rig) bool {
	conn := r.System.Lookup(path)
	return conn != nil && uplinktest.Status(t, r, path).State == "idle" && uplinktest.Status(t, r, path).Begun
}

// Whatever the far end does, each record arrives or is named as rejected, and the records of a
// track arrive in order.
func TestFaultsWithAccounting(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			r := actorstest.New(t)
			w := uplinktest.NewRecorder(t, r)
			poison := map[string]bool{"tracks/a 7": true, "tracks/b 13": true, "tracks/b 14": true}
			key := func(x record.Record) string { return fmt.Sprintf("%s %d", x.Track, x.Sequence) }
			f := &cloud{dial: func(int) error {
				if rnd.IntN(4) == 0 {
					return errors.New("refused")
				}
				return nil
			}}
			f.take = func(c *cloud, b []record.Record) error {
				bad := slices.IndexFunc(b, func(x record.Record) bool { return poison[key(x)] })
				switch fault := rnd.IntN(8); {
				case fault == 0: // takes none of it
					return errors.New("closed")
				case fault == 1: // takes all of it, but the acknowledgement is lost
					c.got = append(c.got, b[:max(bad, 0)]...)
					return errors.New("closed after the batch")
				case fault == 2 && bad != 0:
					n := 1
					c.got = append(c.got, b[:n]...)
					return &far.PartialError{Taken: n, Err: errors.New("closed in the batch")}
				case bad >= 0 && fault%2 == 0: // does not say which record
					return &far.RejectedError{Why: "something is wrong"}
				case bad >= 0 && fault == 3: // says which record, and takes none of the others
					return &far.RejectedError{Records: []far.Refusal{{Index: bad, Why: "this one"}}}
				case bad >= 0: // takes the others
					refused := []far.Refusal{}
					for i, x := range b {
						if poison[key(x)] {
							refused = append(refused, far.Refusal{Index: i, Why: "these"})
						} else {
							c.got = append(c.got, x)
						}
					}
					return &far.RejectedError{Records: refused, Taken: true}
				}
				c.got = append(c.got, b...)
				return nil
			}
			cfg := config()
			cfg.Send.BatchRecords = 20
			cfg.Send.MaxBackoff = durationpb.New(time.Millisecond)
			w.Write("tracks/a", 30, 30)
			cell := r.Start(path, f.kind(), cfg)
			w.Write("tracks/b", 5, 20, 1, 1, 50)
			w.Write("tracks/a", 1, 40)
			r.Stop(cell)
			cell.Remove()
			cell = r.Start(path, f.kind(), cfg) // in the middle of it
			r.Until("all is settled", func() bool {
				s := uplinktest.Status(t, r, path)
				return s.Begun && s.Backlog.Records == 0 && len(once(f.sequences("tracks/a"))) >= 100
			})
			for track, n := range map[string]uint64{"tracks/a": 101, "tracks/b": 77} {
				want := slices.DeleteFunc(uplinktest.UpTo(n), func(s uint64) bool { return poison[fmt.Sprintf("%s %d", track, s)] })
				if got := once(f.sequences(track)); !slices.Equal(got, want) {
					t.Errorf("%s: %v", track, got)
				}
			}
			if cell.Life() != 1 {
				t.Errorf("life %d", cell.Life())
			}
		})
	}
}

// once removes duplicates, which may come after a far end forgot what it had. Nothing else may be
// out of order.
func once(all []uint64) (left []uint64) {
	last := uint64(0)
	for _, s := range all {
		if s > last {
			left = append(left, s)
			last = s
		}
	}
	return left
}

func TestARecordThatEndsEachConnection(t *testing.T) {
	r := actorstest.New(t)
	w := uplinktest.NewRecorder(t, r)
	rejected := actorstest.Watch(r, "event/"+path+"/rejected", &uplinkv1.Rejected{})
	f := &cloud{take: func(c *cloud, b []record.Record) error {
		if slices.ContainsFunc(b, func(x record.Record) bool { return x.Sequence == 3 }) {
			return errors.New("connection reset by peer")
		}
		c.got = append(c.got, b...)
		return nil
	}}
	w.Write("tracks/a", 10)
	cfg := config()
	cfg.Send.MaxBackoff = durationpb.New(time.Millisecond)
	r.Start(path, f.kind(), cfg)
	r.Until("the others are there", func() bool { return len(once(f.sequences("tracks/a"))) == 9 })
	if m := actorstest.Next(t, rejected); m.Record != "tracks/a 3" || !strings.Contains(m.Why, "connection reset") {
		t.Errorf("%v", m)
	}
}

// A far end that refuses everything, as a misconfigured one does, does not make the uplink skip the
// whole backlog.
func TestAFarEndThatRefusesEverything(t *testing.T) {
	for _, before := range []uint64{0, 5} { // records that it accepts first
		r := actorstest.New(t)
		w := uplinktest.NewRecorder(t, r)
		var right atomic.Bool
		f := &cloud{}
		f.take = func(c *cloud, b []record.Record) error {
			if uint64(len(c.got)) >= before && !right.Load() {
				return &far.RejectedError{Why: "unknown shape"}
			}
			c.got = append(c.got, b...)
			return nil
		}
		cfg := config()
		cfg.Send.MaxBackoff, cfg.Send.BatchRecords = durationpb.New(time.Millisecond), 5
		cell := r.Start(path, f.kind(), cfg)
		if before > 0 {
			w.Write("tracks/a", before)
			r.Until("the first are there", func() bool { return uint64(len(f.all())) == before })
		}
		w.Write("tracks/a", 500)
		r.Until("it says so", func() bool {
			return cell.State() == actors.Unreachable && strings.Contains(uplinktest.Status(t, r, path).Error, "it rejects all records: unknown shape")
		})
		if s := uplinktest.Status(t, r, path).State; s != "refused" {
			t.Error(s)
		}
		right.Store(true)
		r.Until("all is there", func() bool { s := uplinktest.Status(t, r, path); return s.Begun && s.Backlog.Records == 0 })
		s := uplinktest.Status(t, r, path)
		got := f.sequences("tracks/a") // one that was just being tried may have come early
		if slices.Sort(got); s.Counts.Rejected != 0 || !slices.Equal(slices.Compact(got), uplinktest.UpTo(500+before)) || cell.Life() != 1 {
			t.Errorf("%v there, %v", got, s.Counts)
		}
	}
}

// A far end may refuse everything old, and only whole batches at a time. A long backlog is skipped
// then, and everything young enough arrives once.
func TestAFarEndThatTakesNothingOld(t *testing.T) {
	const old, young = 1500, 100
	r := actorstest.New(t)
	w := uplinktest.NewRecorder(t, r)
	f := &cloud{}
	f.take = func(c *cloud, b []record.Record) error {
		if slices.ContainsFunc(b, func(x record.Record) bool { return x.Sequence <= old }) {
			return &far.RejectedError{Why: "beyond retention"}
		}
		c.got = append(c.got, b...)
		return nil
	}
	cfg := config()
	cfg.Send.MaxBackoff, cfg.Send.BatchRecords = durationpb.New(time.Millisecond), 20
	for range old / 100 {
		w.Write("tracks/a", 100)
	}
	w.Write("tracks/a", young/2, young/2)
	cell := r.Start(path, f.kind(), cfg)
	r.Until("nothing is left", func() bool { s := uplinktest.Status(t, r, path); return s.Begun && s.Backlog.Records == 0 })
	s := uplinktest.Status(t, r, path)
	got := f.sequences("tracks/a")
	slices.Sort(got)
	if want := uplinktest.UpTo(old + young)[old:]; !slices.Equal(slices.Compact(got), want) || s.Counts.Rejected != old || cell.Life() != 1 {
		t.Errorf("%v there, %v", got, s.Counts)
	}
}

// Many bad records in a row are skipped, as long as others are accepted.
func TestManyBadRecordsInARow(t *testing.T) {
	r := actorstest.New(t)
	w := uplinktest.NewRecorder(t, r)
	f := &cloud{take: func(c *cloud, b []record.Record) error {
		if slices.ContainsFunc(b, func(x record.Record) bool { return x.Sequence > 50 && x.Sequence <= 150 }) {
			return &far.RejectedError{Why: "too large"}
		}
		c.got = append(c.got, b...)
		return nil
	}}
	cfg := config()
	cfg.Send.MaxBackoff = durationpb.New(time.Millisecond)
	r.Start(path, f.kind(), cfg)
	w.Write("tracks/a", 50, 100, 50)
	r.Until("nothing is left", func() bool { s := uplinktest.Status(t, r, path); return s.Begun && s.Backlog.Records == 0 })
	if s := uplinktest.Status(t, r, path); s.Counts.Rejected != 100 || len(once(f.sequences("tracks/a"))) != 100 {
		t.Errorf("%v", s.Counts)
	}
}

// A link that recovers while the uplink probes with another record causes no loss: the suspected
// record is tried again.
func TestALinkThatComesBackAtAnyMoment(t *testing.T) {
	for failures := range 12 {
		r := actorstest.New(t)
		w := uplinktest.NewRecorder(t, r)
		w.Write("tracks/a", 5)
		tries := 0
		f := &cloud{take: func(c *cloud, b []record.Record) error {
			if len(c.got) >= 5 && tries < failures {
				tries++
				return errors.New("connection reset by peer")
			}
			c.got = append(c.got, b...)
			return nil
		}}
		cfg := config()
		cfg.Send.MaxBackoff, cfg.Send.BatchRecords = durationpb.New(time.Millisecond), 1
		r.Start(path, f.kind(), cfg)
		r.Until("the first are there", func() bool { return len(f.all()) == 5 })
		w.Write("tracks/a", 5)
		r.Until("all are there", func() bool {
			s := uplinktest.Status(t, r, path)
			return s.Begun && s.Backlog.Records == 0 && s.Counts.Acknowledged+s.Counts.Rejected == 10
		})
		if got := once(f.sequences("tracks/a")); !slices.Equal(got, uplinktest.UpTo(10)) || uplinktest.Status(t, r, path).Counts.Rejected > 0 {
			t.Fatalf("after %d failures: %v", failures, f.sequences("tracks/a"))
		}
	}
}

func TestAFarEndThatNeverAnswers(t *testing.T) {
	r := actorstest.New(t)
	w := uplinktest.NewRecorder(t, r)
	silent := actorstest.Watch(r, "event/"+path+"/silent", &uplinkv1.Silent{})
	f := &cloud{released: make(chan struct{})}
	cfg := config()
	cfg.Send.Timeout, cfg.Send.Silence = durationpb.New(20*time.Millisecond), durationpb.New(time.Millisecond)
	w.Write("tracks/a", 10)
	cell := r.Start(path, f.kind(), cfg)
	if m := actorstest.Next(t, silent); m.Over || !strings.Contains(m.Error, "test://cloud does not answer in time") {
		t.Errorf("%v", m)
	}
	r.Until("it is unreachable", func() bool { return cell.State() == actors.Unreachable })
	close(f.released)
	if m := actorstest.NextWhere(t, silent, func(m *uplinkv1.Silent) bool { return m.Over }); !m.Over {
		t.Errorf("%v", m)
	}
	r.Until("all is there", func() bool { return slices.Equal(f.sequences("tracks/a"), uplinktest.UpTo(10)) })
	if cell.Life() != 1 || cell.State() != actors.OK {
		t.Errorf("life %d, %s", cell.Life(), cell.State())
	}
}

// later is an error with which the far end asks not to be contacted for a while.
type later struct {
	error
	seconds int
}

func (l later) RetryAfter() int { return l.seconds }

// The status explains a failure in words where there are any, and says when the next attempt is if
// that is not soon.
func TestWhatKeepsItIsToldInWords(t *testing.T) {
	r := actorstest.New(t)
	w := uplinktest.NewRecorder(t, r)
	w.Write("tracks/a", 1)
	seen := make(chan struct{})
	f := &cloud{dial: func(n int) error {
		switch n {
		case 1:
			return &far.DeadlineError{What: "nobody opens"}
		case 2:
			<-seen
			return later{errors.New("too many requests"), 3600}
		}
		return nil
	}}
	r.Start(path, f.kind(), config())
	r.Until("it says who does not answer", func() bool { return f.told(t, r, "nobody opens") })
	close(seen)
	r.Until("it says until when it waits", func() bool {
		return f.told(t, r, "too many requests; it asks for no new attempt before "+time.Now().Add(time.Hour).Format("2006-01-02 15"))
	})
}

// An error from connecting is not given as the reason once the uplink is connected.
func TestConnectedAgain(t *testing.T) {
	r := actorstest.New(t)
	w := uplinktest.NewRecorder(t, r)
	w.Write("tracks/a", 1)
	f := &cloud{released: make(chan struct{}), dial: func(n int) error {
		if n == 1 {
			return errors.New("nobody is there")
		}
		return nil
	}}
	states := actorstest.Watch(r, "state/"+path+"/uplink", &uplinkv1.Status{})
	r.Start(path, f.kind(), config())
	actorstest.NextWhere(t, states, func(m *uplinkv1.Status) bool { return m.State == "waiting" && m.Why == "nobody is there" })
	actorstest.NextWhere(t, states, func(m *uplinkv1.Status) bool {
		if m.Connected != nil && m.Why == "nobody is there" {
			t.Errorf("%v", m)
		}
		return m.State == "sending" && m.Why == "connected again, but nothing is acknowledged yet; earlier: nobody is there"
	})
	close(f.released)
	actorstest.NextWhere(t, states, func(m *uplinkv1.Status) bool { return m.Counts.Acknowledged == 1 && m.Why == "" })
}

// A long pause that the uplink itself chose is not attributed to the far end, which asked for a
// shorter one.
func TestWhoWantsALongPause(t *testing.T) {
	t.Parallel()
	r := actorstest.New(t)
	seen := make(chan struct{})
	var dials atomic.Int64 // not f.dials, the lock of which is held while dial waits
	f := &cloud{dial: func(n int) error {
		dials.Store(int64(n))
		if n <= 10 {
			return errors.New("no")
		}
		<-seen
		return later{errors.New("too many requests"), 1}
	}}
	cell := r.Start(path, f.kind(), config())
	r.Until("it has failed often", func() bool { return dials.Load() >= 10 })
	patient := config()
	patient.Send.MaxBackoff = durationpb.New(10 * time.Minute)
	schemas.Defaults(patient)
	cell.Reconfigure(patient)
	uplinktest.Status(t, r, path) // it comes behind the change in the mailbox
	close(seen)
	r.Until("it says why it waits", func() bool { return f.told(t, r, "too many requests") })
	if why := uplinktest.Status(t, r, path).Why; why != "too many requests" {
		t.Error(why)
	}
}

// told reports whether the status shows this error and no longer the state connecting.
func (f *cloud) told(t *testing.T, r *actorstest.Rig, want string) bool {
	return strings.HasPrefix(uplinktest.Status(t, r, path).Why, want)
}

// While a far end takes long to connect, the status says that there is no answer yet.
func TestConnectingForLong(t *testing.T) {
	t.Parallel()
	r := actorstest.New(t)
	released := make(chan struct{})
	f := &cloud{dial: func(int) error { <-released; return nil }}
	r.Start(path, f.kind(), config())
	r.Until("it says that there is no answer", func() bool { return uplinktest.Status(t, r, path).Why == "no answer yet" })
	close(released)
	r.Until("it says nothing any more", func() bool { return uplinktest.Status(t, r, path).Why == "" })
}

func TestANewTableLosesNothing(t *testing.T) {
	r := actorstest.New(t)
	w := uplinktest.NewRecorder(t, r)
	f := &cloud{}
	cfg := config()
	cell := r.Start(path, f.kind(), cfg)
	w.Write("tracks/a", 10)
	r.Until("the first are there", func() bool { return len(f.all()) == 10 })
	other := config()
	other.Send.Rules = []*uplinkv1.Rule{{Fields: []string{"power"}, Rename: "P", Scale: 1000, Unit: "W"}}
	schemas.Defaults(other)
	cell.Reconfigure(other)
	r.Until("it is taken over", func() bool { w.Write("tracks/a", 1); return last(f).Fields[0].Name == "P" })
	if x := last(f); len(x.Fields) != 1 || x.Fields[0].Unit != "W" || x.Fields[0].Value != float64(x.Sequence)*1000 {
		t.Errorf("%+v", x)
	}
	again := config()
	again.Url, again.Send.Rules, again.Send.Tracks = "http://elsewhere", other.Send.Rules, []string{"tracks/#"}
	schemas.Defaults(again)
	cell.Reconfigure(again)
	r.Until("it has connected anew", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.configs) == 2 && f.configs[1] == "http://elsewhere"
	})
	w.Write("tracks/a", 10)
	r.Until("all is there", func() bool { return len(once(f.sequences("tracks/a"))) == int(w.Recorded()["tracks/a"]) })
	if cell.Life() != 1 {
		t.Errorf("life %d", cell.Life())
	}
}

func last(f *cloud) record.Record {
	all := f.all()
	return all[len(all)-1]
}

func TestTheBudgetOutlivesRestarts(t *testing.T) {
	r := actorstest.New(t)
	w := uplinktest.NewRecorder(t, r)
	f := &cloud{}
	cfg := config()
	cfg.Send.Budget = &uplinkv1.Budget{MonthRecords: 15, BillingDay: 1}
	w.Write("tracks/a", 10)
	cell := r.Start(path, f.kind(), cfg)
	r.Until("the first are there", func() bool { return len(f.all()) == 10 })
	w.Write("tracks/a", 10)
	r.Until("it rests", func() bool { return uplinktest.Status(t, r, path).State == "resting" })
	if got := f.sequences("tracks/a"); !slices.Equal(got, uplinktest.UpTo(15)) {
		t.Error(got)
	}
	if s := uplinktest.Status(t, r, path); s.Spent.MonthRecords != 15 || !strings.HasPrefix(s.Why, "the data budget is used up until ") || cell.State() != actors.Degraded {
		t.Errorf("%v", s)
	}
	r.Until("that is written down", func() bool {
		m := &uplinkv1.Spent{}
		return r.Noted(path, "spent", m) && m.MonthRecords == 15
	})
	r.Stop(cell)
	cell.Remove()
	cell = r.Start(path, f.kind(), cfg)
	r.Until("it rests again", func() bool {
		s := uplinktest.Status(t, r, path)
		return s.State == "resting" && s.Spent.MonthRecords == 15
	})
	if got := f.sequences("tracks/a"); !slices.Equal(got, uplinktest.UpTo(15)) {
		t.Error(got)
	}
	free := config()
	schemas.Defaults(free)
	cell.Reconfigure(free)
	r.Until("without a limit all is there", func() bool { return slices.Equal(once(f.sequences("tracks/a")), uplinktest.UpTo(20)) })
}

// After a power cut at any moment hardly any of the budget is granted again: what is not on disk
// yet is at most two small fractions of it and a batch.
func TestTheBudgetIsWrittenDownAsItIsSpent(t *testing.T) {
	r := actorstest.New(t)
	w := uplinktest.NewRecorder(t, r)
	const limit, batch = 6400, 10
	lag := 0
	f := &cloud{take: func(f *cloud, b []record.Record) error {
		if len(f.got)%500 == 0 {
			m := &uplinkv1.Spent{}
			r.Noted(path, "spent", m)
			lag = max(lag, len(f.got)-int(m.MonthRecords))
		}
		f.got = append(f.got, b...)
		return nil
	}}
	cfg := config()
	cfg.Send.Budget = &uplinkv1.Budget{MonthRecords: limit, BillingDay: 1}
	cfg.Send.BatchRecords = batch
	for range 10 {
		w.Write("tracks/a", 600)
	}
	r.Start(path, f.kind(), cfg)
	r.Until("all is there", func() bool { return len(f.all()) == 6000 })
	if lag > 2*(limit/64)+batch {
		t.Errorf("of %d records nobody would have known", lag)
	}
}

// Spending from before there was a limit counts, in this life and in earlier ones.
func TestABudgetByReload(t *testing.T) {
	r := actorstest.New(t)
	w := uplinktest.NewRecorder(t, r)
	f := &cloud{}
	free := config()
	schemas.Defaults(free)
	w.Write("tracks/a", 10)
	cell := r.Start(path, f.kind(), free)
	r.Until("the first are there", func() bool { return len(f.all()) == 10 })
	r.Until("that is written down", func() bool {
		m := &uplinkv1.Spent{}
		return r.Noted(path, "spent", m) && m.MonthRecords == 10
	})
	r.Stop(cell)
	cell.Remove()
	w.Write("tracks/a", 3)
	cell = r.Start(path, f.kind(), free)
	r.Until("the next are there", func() bool { return len(once(f.sequences("tracks/a"))) == 13 })
	limited := config()
	limited.Send.Budget = &uplinkv1.Budget{MonthRecords: 15, BillingDay: uint32(time.Now().UTC().AddDate(0, 0, -1).Day()%28 + 1)}
	schemas.Defaults(limited)
	cell.Reconfigure(limited)
	uplinktest.Status(t, r, path) // it comes behind the reload in the mailbox
	w.Write("tracks/a", 10)
	r.Until("it rests", func() bool {
		s := uplinktest.Status(t, r, path)
		return s.State == "resting" && s.Spent.MonthRecords == 15
	})
	if got := once(f.sequences("tracks/a")); !slices.Equal(got, uplinktest.UpTo(15)) {
		t.Error(got)
	}
}

// An uplink that starts while the store does not work does not know what it has spent, and waits
// until it does.
func TestTheBudgetOutlivesAStoreThatFails(t *testing.T) {
	r := actorstest.New(t)
	f := &cloud{}
	cfg := config()
	cfg.Send.Budget = &uplinkv1.Budget{MonthRecords: 15, BillingDay: 1}
	r.Note(path, "spent", &uplinkv1.Spent{Hour: timestamppb.Now(), Month: timestamppb.Now(), MonthRecords: 15})
	uplinktest.NewRecorder(t, r).Write("tracks/a", 10)
	back := r.LoseDisk()
	r.Start(path, f.kind(), cfg)
	r.Until("it has a place in the tracks", func() bool { return uplinktest.Status(t, r, path).Backlog.GetRecords() == 10 })
	r.Until("it says what it waits for", func() bool {
		return strings.HasPrefix(uplinktest.Status(t, r, path).Why, "the progress before this start is unknown: ")
	})
	back()
	r.Until("it rests", func() bool { return uplinktest.Status(t, r, path).State == "resting" })
	if got := f.all(); len(got) > 0 {
		t.Error(got)
	}
}

// An uplink that gets its first limit while the spending is unknown waits as well.
func TestALimitBeforeItIsKnownWhatWasSpent(t *testing.T) {
	r := actorstest.New(t)
	f := &cloud{}
	w := uplinktest.NewRecorder(t, r)
	w.Write("tracks/a", 10)
	r.Note(path, "spent", &uplinkv1.Spent{Hour: timestamppb.Now(), Month: timestamppb.Now(), MonthRecords: 15})
	back := r.LoseDisk()
	cell := r.Start(path, f.kind(), config())
	r.Until("it sends what has no limit", func() bool { return len(f.all()) == 10 })
	limited := config()
	limited.Send.Budget = &uplinkv1.Budget{MonthRecords: 15, BillingDay: 1}
	schemas.Defaults(limited)
	cell.Reconfigure(limited)
	r.Until("it says what it waits for", func() bool {
		s := uplinktest.Status(t, r, path)
		return s.Connected == nil && strings.HasPrefix(s.Why, "the progress before this start is unknown: ")
	})
	w.Write("tracks/a", 10)
	back()
	r.Until("it rests", func() bool { return uplinktest.Status(t, r, path).State == "resting" })
	if n := len(f.all()); n != 10 {
		t.Errorf("%d were sent", n)
	}
}

func TestQuietHours(t *testing.T) {
	r := actorstest.New(t)
	w := uplinktest.NewRecorder(t, r)
	f := &cloud{}
	cfg := config()
	cfg.Send.Quiet = []string{"00:00-12:00", "12:00-24:00"}
	w.Write("tracks/a", 10)
	cell := r.Start(path, f.kind(), cfg)
	r.Until("it rests", func() bool { return uplinktest.Status(t, r, path).State == "resting" })
	if f.dials != 0 || !strings.HasPrefix(uplinktest.Status(t, r, path).Why, "quiet hours, all day") {
		t.Error(f.dials, uplinktest.Status(t, r, path).Why)
	}
	awake := config()
	schemas.Defaults(awake)
	cell.Reconfigure(awake)
	r.Until("all is there", func() bool { return len(f.all()) == 10 })
}

// Filters may overlap; each record is still sent once.
func TestFiltersThatCoverEachOther(t *testing.T) {
	r := actorstest.New(t)
	w := uplinktest.NewRecorder(t, r)
	w.Write("tracks/a", 5)
	w.Write("tracks/b", 5)
	f := &cloud{}
	cfg := config()
	cfg.Send.Tracks = []string{"tracks/a", "tracks/+", "#"}
	r.Start(path, f.kind(), cfg)
	r.Until("nothing is left", func() bool { s := uplinktest.Status(t, r, path); return s.Begun && s.Backlog.Records == 0 })
	if got := f.all(); len(got) != 10 {
		t.Errorf("%d", len(got))
	}
}

func TestWhatNoRulePicksIsNotSent(t *testing.T) {
	r := actorstest.New(t)
	w := uplinktest.NewRecorder(t, r)
	f := &cloud{}
	cfg := config()
	cfg.Send.Rules = []*uplinkv1.Rule{{Tracks: []string{"tracks/b"}, Fields: []string{"power"}}}
	w.Write("tracks/a", 1000)
	w.Write("tracks/b", 1)
	w.Write("tracks/a", 1000)
	r.Start(path, f.kind(), cfg)
	r.Until("nothing is left", func() bool { s := uplinktest.Status(t, r, path); return s.Begun && s.Backlog.Records == 0 })
	if got := f.all(); len(got) != 1 || got[0].Track != "tracks/b" || len(got[0].Fields) != 1 {
		t.Errorf("%d: %v", len(got), got)
	}
	if s := uplinktest.Status(t, r, path); s.Counts.LeftOut != 2000 || s.Counts.Acknowledged != 1 {
		t.Errorf("%v", s.Counts)
	}
}

// While a backlog is sent slowly, new records arrive at once. In the end each record has arrived
// once, whatever happens in between.
func TestFreshDataGoesFirst(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 2))
			r := actorstest.New(t)
			w := uplinktest.NewRecorder(t, r)
			f := &cloud{}
			if seed > 0 { // a link that breaks
				f.take = func(c *cloud, b []record.Record) error {
					switch rnd.IntN(6) {
					case 0:
						return errors.New("closed")
					case 1:
						n := 1 + rnd.IntN(len(b))
						c.got = append(c.got, b[:n]...)
						return &far.PartialError{Taken: n, Err: errors.New("closed in the batch")}
					}
					c.got = append(c.got, b...)
					return nil
				}
			}
			cfg := config()
			cfg.Send.CatchUpOrder, cfg.Send.BatchRecords, cfg.Send.CatchUp = "fresh-first", 10, 20
			cfg.Send.MaxBackoff = durationpb.New(time.Millisecond)
			backlog := uint64(0)
			for range 12 {
				n := 10 + rnd.Uint64N(20)
				w.Write("tracks/a", n)
				backlog += n
			}
			cell := r.Start(path, f.kind(), cfg)
			r.Until("it catches up", func() bool { return len(f.all()) > 0 })
			w.Write("tracks/a", 3, 1)
			w.Write("tracks/b", 7)
			has := func(track string, s uint64) bool { return slices.Contains(f.sequences(track), s) }
			r.Until("what is new has come", func() bool { return has("tracks/a", backlog+4) && has("tracks/b", 7) })
			if all := f.sequences("tracks/a"); seed == 0 && uint64(len(all)) >= backlog {
				t.Errorf("%d of %d were there already", len(all), backlog)
			}
			if seed == 3 { // the next life knows what was sent ahead
				r.Until("that is written down", func() bool {
					return r.Noted(path, "ahead", &uplinkv1.Ahead{})
				})
				r.Stop(cell)
				cell.Remove()
				cell = r.Start(path, f.kind(), cfg)
			}
			w.Write("tracks/a", 2)
			fast := config()
			fast.Send.CatchUpOrder, fast.Send.BatchRecords = "fresh-first", 10
			fast.Send.MaxBackoff = durationpb.New(time.Millisecond)
			schemas.Defaults(fast)
			cell.Reconfigure(fast)
			r.Until("all is settled", func() bool {
				s := uplinktest.Status(t, r, path)
				return s.Begun && s.Backlog.Records == 0 && has("tracks/a", backlog+6)
			})
			for track, n := range w.Recorded() {
				got := f.sequences(track)
				slices.Sort(got)
				if once := slices.Compact(slices.Clone(got)); !slices.Equal(once, uplinktest.UpTo(n)) {
					t.Errorf("%s: of %d there are %v", track, n, once)
				} else if len(once) != len(got) && seed != 3 {
					t.Errorf("%s: some came twice: %v", track, got)
				}
			}
			if s := uplinktest.Status(t, r, path); s.Counts.Lost != 0 || cell.Life() != 1 {
				t.Errorf("life %d, %v", cell.Life(), s.Counts)
			}
			r.Until("nothing is left to be remembered", func() bool {
				m := &uplinkv1.Ahead{}
				return !r.Noted(path, "ahead", m) || len(m.Stretches)+len(m.Parts) == 0
			})
		})
	}
}

// A backlog that fits into one batch is throttled like a larger one, and sent in the configured
// order.
func TestASmallBacklogIsSlowToo(t *testing.T) {
	for _, order := range []string{"in-order", "fresh-first"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			r := actorstest.New(t)
			w := uplinktest.NewRecorder(t, r)
			w.Write("tracks/a", 1, 2, 50)
			var largest atomic.Int64
			f := &cloud{take: func(c *cloud, b []record.Record) error {
				c.got = append(c.got, b...)
				largest.Store(max(largest.Load(), int64(len(b))))
				return nil
			}}
			cfg := config()
			cfg.Send.CatchUpOrder, cfg.Send.CatchUp = order, 4
			r.Start(path, f.kind(), cfg)
			a := func() int { return len(f.sequences("tracks/a")) }
			r.Until("the first are there", func() bool { return a() > 0 })
			if order == "fresh-first" {
				var wrote time.Time
				r.Until("what is new is there", func() bool {
					// The first may arrive before the uplink knows what is new.
					if time.Since(wrote) > 50*time.Millisecond {
						w.Write("tracks/b", 1)
						wrote = time.Now()
					}
					return len(f.sequences("tracks/b")) > 0
				})
				if n := a(); n >= 53 {
					t.Error("it came behind the backlog")
				}
				return
			}
			began := time.Now()
			r.Until("more are there", func() bool { return a() > 23 })
			if took := time.Since(began); took < 4*time.Second || largest.Load() > 20 {
				t.Errorf("%d came in %s, at most %d at once", a(), took, largest.Load())
			}
		})
	}
}

// The notes on what was sent ahead belong to a read position. After that has been given up, a later
// uplink of the same name does not skip anything, since its far end may be another one.
func TestAPlaceThatWasGivenUp(t *testing.T) {
	r := actorstest.New(t)
	w := uplinktest.NewRecorder(t, r)
	w.Write("tracks/a", 5, 5)
	r.Note(path, "ahead", &uplinkv1.Ahead{Stretches: []*uplinkv1.Stretch{{First: 1, Last: 2}}, Records: 10})
	f := &cloud{}
	cfg := config()
	cfg.Send.CatchUpOrder = "fresh-first"
	r.Start(path, f.kind(), cfg)
	r.Until("all is there", func() bool { return slices.Equal(f.sequences("tracks/a"), uplinktest.UpTo(10)) })
	r.Until("it is not noted any more", func() bool {
		m := &uplinkv1.Ahead{}
		return r.Noted(path, "ahead", m) && len(m.Stretches) == 0
	})
}

// A week offline with a store that holds only part of it: what is left arrives in order, and the
// rest is reported by sequence.
func TestSevenDaysOffline(t *testing.T) {
	r := actorstest.NewOn(t, bus.Config{MaxTracks: 1 << 20})
	w := uplinktest.NewRecorder(t, r)
	gaps := actorstest.Watch(r, "event/"+path+"/gap", &uplinkv1.Gap{})
	var away atomic.Bool
	f := &cloud{dial: func(int) error {
		if away.Load() {
			return errors.New("no route to host")
		}
		return nil
	}}
	f.take = func(c *cloud, b []record.Record) error {
		if away.Load() {
			return errors.New("connection reset by peer")
		}
		c.got = append(c.got, b...)
		return nil
	}
	cfg := config()
	cell := r.Start(path, f.kind(), cfg)
	w.Write("tracks/a", 100)
	r.Until("the first are there", func() bool { return len(f.all()) == 100 })
	away.Store(true)
	const chunk = 1000
	for range 7 * 24 * 3600 / 10 / chunk { // a record each 10 s
		w.Write("tracks/a", chunk)
	}
	if s := uplinktest.Status(t, r, path); s.Backlog.Records == 0 {
		t.Errorf("%v", s)
	}
	away.Store(false)
	n := w.Recorded()["tracks/a"]
	r.Until("the newest is there", func() bool { all := f.sequences("tracks/a"); return all[len(all)-1] == n })
	var told []*uplinkv1.Gap
	lost := uint64(0)
	r.Until("what is lost is told", func() bool {
		for len(gaps) > 0 {
			told = append(told, <-gaps)
		}
		lost = 0
		for _, gap := range told {
			lost += gap.To - gap.From + 1
		}
		s := uplinktest.Status(t, r, path)
		return lost > 0 && lost == s.Counts.Lost && s.Counts.Acknowledged+lost == n
	})
	got := f.sequences("tracks/a")
	want := uplinktest.UpTo(n)
	for _, gap := range told { // more than one, if room was made during the read
		want = slices.DeleteFunc(want, func(s uint64) bool { return gap.From <= s && s <= gap.To })
	}
	if !slices.Equal(got, want) || len(got) < chunk {
		t.Errorf("%d have come of %d, of which %v is told to be lost", len(got), n, told)
	}
	if cell.Life() != 1 {
		t.Errorf("life %d", cell.Life())
	}
}
