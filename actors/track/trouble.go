package track

import (
	"fmt"

	"gatewayd/actors"
	"gatewayd/protocols/clock"
	"gatewayd/protocols/record"
	trackv1 "gatewayd/schemas/track/v1"
)

// trouble reports once that the store accepts nothing, and schedules another attempt.
func (t *track) trouble(c *actors.Context, err error) {
	s := &t.store
	news := s.trouble == ""
	s.trouble = "records cannot be written to disk: " + err.Error()
	for _, w := range s.waits {
		w.req.Refuse(fmt.Errorf("the record waits in memory: %s", s.trouble))
	}
	s.waits = nil
	if news {
		c.Log().Warn("records wait in memory", "err", err)
		c.Event("trouble", &trackv1.Trouble{Why: s.trouble, Waiting: uint64(len(s.waiting))})
		t.say(c)
	}
	t.health(c)
	if s.flushing == nil {
		s.flushing = c.After(retryAfter, flush{})
	}
}

// recovered reports the end of the trouble.
func (t *track) recovered(c *actors.Context) {
	s := &t.store
	t.tellDropped(c)
	if s.trouble != "" {
		c.Event("recovered", &trackv1.Recovered{Why: s.trouble, Waiting: uint64(len(s.waiting))})
		s.trouble = ""
		t.say(c)
	}
	t.health(c)
}

// tellDropped reports the records for which there was no room in memory.
func (t *track) tellDropped(c *actors.Context) {
	s := &t.store
	if s.unsaid.Records > 0 {
		c.Event("dropped", &trackv1.Dropped{From: s.unsaid.From, To: s.unsaid.To, Records: s.unsaid.Records, Why: "no space in memory while the disk could not be written"})
		s.unsaid.Reset()
	}
}

// corrected is called when the clock is right: records of this boot from before get their correct
// time.
func (t *track) corrected(c *actors.Context, r clock.Reading) {
	s := &t.store
	start := r.Wall.Add(-r.Uptime)
	onDisk, waiting := s.untrustedOnDisk, false
	for i := range s.waiting {
		if w := &s.waiting[i]; !w.Trusted {
			w.Time, w.Trusted = start.Add(w.Uptime), true
			waiting = true
		}
	}
	if onDisk {
		s.untrustedOnDisk = false
		s.anchors = append(s.anchors, record.Anchor{Boot: t.boot, Start: start})
		s.anchors = s.anchors[max(0, len(s.anchors)-anchors):]
		t.mark(c)
	}
	if onDisk || waiting {
		c.Event("corrected", &trackv1.Corrected{Boot: t.boot, Start: stamp(start)})
	}
}

// anchors is the number of boots whose clock corrections a chunk carries.
const anchors = 8

// inherit notes whether this boot has left records with a wrong time on disk.
func (t *track) inherit(newest *record.Chunk) {
	for _, r := range newest.Records {
		t.store.untrustedOnDisk = t.store.untrustedOnDisk || r.Boot == t.boot && !r.Trusted
	}
	for _, a := range newest.Anchors {
		t.store.untrustedOnDisk = t.store.untrustedOnDisk && a.Boot != t.boot
	}
}
