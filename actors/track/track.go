// Package track is the actor kind that records points of other actors and keeps the records on
// disk.
package track

import (
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/actors"
	"gatewayd/protocols/clock"
	"gatewayd/protocols/record"
	"gatewayd/protocols/recorder"
	trackv1 "gatewayd/schemas/track/v1"
)

// Leaves that the track publishes on.
const (
	records = "records" // of class track, and of class trace as JSON
	status  = "track"
)

// Kind is the actor kind track.
var Kind = define(clock.Read)

// define returns the kind with the given clock.
func define(read func() clock.Reading) actors.Kind {
	return actors.Define(actors.Kind{
		Name:     "track",
		Doc:      "Records points on change, periodically or around events, and keeps the records on disk.",
		Services: []protoreflect.ServiceDescriptor{actors.Service(trackv1.File_track_v1_track_proto, "TrackService")},
		Publishes: []actors.Leaf{
			{Class: "track", Leaf: records, Message: &trackv1.Records{}},
			{Class: "trace", Leaf: records, Message: &trackv1.Record{}},
			{Class: "state", Leaf: status, Message: &trackv1.State{}},
			{Class: "event", Leaf: "dropped", Message: &trackv1.Dropped{}},
			{Class: "event", Leaf: "lost", Message: &trackv1.Lost{}},
			{Class: "event", Leaf: "trouble", Message: &trackv1.Trouble{}},
			{Class: "event", Leaf: "recovered", Message: &trackv1.Recovered{}},
			{Class: "event", Leaf: "activity", Message: &trackv1.Activity{}},
			{Class: "event", Leaf: "triggered", Message: &trackv1.Triggered{}},
			{Class: "event", Leaf: "corrected", Message: &trackv1.Corrected{}},
		},
		Limit:  2048,
		Check:  check,
		Beside: beside,
	}, func(cfg *trackv1.Track) actors.Actor {
		return &track{cfg: cfg, read: read, trust: clock.Trust{Synchronised: cfg.Clock == "synchronised"}}
	})
}

type track struct {
	cfg   *trackv1.Track
	read  func() clock.Reading
	trust clock.Trust
	boot  string

	rec     *recorder.Recorder
	sources []source
	bound   map[string][]int // fields by path and point
	names   map[string]bool  // field names in use
	numbers map[uint32]bool  // field numbers in use
	tick    *actors.Timer
	tickAt  time.Duration

	store  store
	silent bool
	spoken bool // the state has been published since the first reading
	seen   seen
}

type (
	due        struct{} // the recorder has something to do
	flush      struct{} // write the gathered records
	look       struct{} // check the state of the track
	started    struct{ state actors.TrackState }
	looked     struct{ state actors.TrackState }
	verified   struct{ gaps []record.Gap }
	unanswered struct{ err error } // the store did not return the state
)

func (t *track) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case actors.Started:
		return t.start(c)
	case actors.Delivery:
		t.deliver(c, m)
	case due:
		t.tick = nil
		t.heed(c)(t.rec.Tick(t.now(c)))
	case flush:
		t.store.flushing = nil
		t.write(c)
	case actors.Kept:
		t.kept(c, m)
	case *trackv1.RecordRequest:
		t.record(c, m)
	case actors.Stopped:
		t.last(c)
	default:
		t.stand(c, msg)
	}
	return nil
}

func (t *track) start(c *actors.Context) error {
	t.boot = clock.Boot()
	t.bound, t.names, t.numbers = map[string][]int{}, map[string]bool{}, map[uint32]bool{}
	trigger, err := triggerOf(t.cfg.Trigger)
	if err != nil {
		return actors.Broken(err)
	}
	now := t.now(c)
	t.rec = recorder.New(recorder.Config{Activity: t.cfg.Activity.AsDuration(), Trigger: trigger}, now)
	for i, f := range t.cfg.Fields {
		s, err := sourceOf(i, f)
		if err != nil {
			return actors.Broken(err)
		}
		t.sources = append(t.sources, s)
		if s.single() {
			t.bind(s, s.path, s.point, now)
		}
	}
	t.seen.at = now.Uptime
	if err := t.listen(c); err != nil {
		return err
	}
	t.schedule(c)
	t.ask(c)
	c.Every(lookEvery, look{})
	return nil
}

// listen subscribes to the points and events to record.
func (t *track) listen(c *actors.Context) error {
	heard := map[string]bool{}
	for _, s := range t.sources {
		if filter := "data/" + s.path + "/+"; !heard[filter] {
			heard[filter] = true
			if err := c.Subscribe(filter); err != nil {
				return err
			}
		}
	}
	for _, on := range t.cfg.RecordOn {
		if err := c.Subscribe("event/" + on); err != nil {
			return err
		}
	}
	return nil
}

// now reads the clocks and handles corrections and steps.
func (t *track) now(c *actors.Context) recorder.Moment {
	r := t.read()
	right, step := t.trust.See(r)
	if step != 0 {
		c.Log().Info("the wall clock was stepped", "by", step)
	}
	if right {
		t.corrected(c, r)
	}
	return recorder.Moment{Uptime: r.Uptime, Wall: r.Wall, Trusted: t.trust.Right()}
}

// heed handles the output of the recorder.
func (t *track) heed(c *actors.Context) func([]record.Record, []recorder.News) {
	return func(all []record.Record, news []recorder.News) {
		for _, n := range news {
			switch n {
			case recorder.Silent, recorder.Heard:
				t.silent = n == recorder.Silent
				c.Event("activity", &trackv1.Activity{Heard: !t.silent})
				t.health(c)
			case recorder.Triggered, recorder.Released:
				c.Event("triggered", &trackv1.Triggered{Recording: n == recorder.Triggered, Start: t.cfg.Trigger.Start})
			}
		}
		t.add(c, all)
		t.schedule(c)
	}
}

// schedule sets the timer for the recorder's next work.
func (t *track) schedule(c *actors.Context) {
	at, ok := t.rec.Next()
	if !ok || t.tick != nil && t.tickAt <= at {
		return
	}
	t.tick.Stop()
	t.tickAt = at
	t.tick = c.After(max(0, at-t.read().Uptime), due{})
}

// health reports the health of the track.
func (t *track) health(c *actors.Context) {
	switch {
	case t.store.trouble != "":
		c.Degraded(t.store.trouble)
	case t.silent:
		c.Degraded("nothing received for " + t.cfg.Activity.AsDuration().String())
	case t.store.known:
		c.OK()
	}
}

// record makes a record of all fields on request.
func (t *track) record(c *actors.Context, m *trackv1.RecordRequest) {
	cause := m.Cause
	if cause == "" {
		cause = "asked for"
	}
	t.add(c, t.rec.Record(t.now(c), cause))
	t.store.waits = append(t.store.waits, wait{c.Take(), t.store.added})
	t.write(c)
	t.schedule(c)
}
