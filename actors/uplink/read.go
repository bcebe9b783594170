package uplink

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/protocols/record"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

const (
	openTime = 30 * time.Second
	waitTime = 10 * time.Minute // for what is recorded next
	pause    = 2 * time.Second  // after the store has failed
	handful  = 2                // messages that are read before it is known how many records one has
	most     = 512              // messages that are read at once
)

type (
	opened struct {
		reader *actors.Reader
		err    error
	}
	took struct {
		messages []actors.Stored
		asked    int
		err      error
	}
	again struct{} // look what can be done now
)

// read has the store read when there is room for more. Nothing is read while nothing can be sent.
func (e *engine) read(c *actors.Context) {
	switch {
	case e.reading || e.paused.After(time.Now()):
	case e.reader == nil || e.reopen:
		e.open(c)
	case e.sender == nil || e.queue.records >= 2*e.portions.Records || e.queue.bytes >= 2*e.portions.Bytes:
	default:
		e.reading = true
		reader, asked := e.reader, e.appetite()
		roused, rouse := context.WithCancel(context.Background())
		e.rouse = rouse
		c.Do(waitTime, func(ctx context.Context) (any, error) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(roused, cancel)()
			all, err := reader.Next(ctx, asked)
			return took{all, asked, err}, nil
		})
	}
}

// appetite is how many messages hold about as many records as two batches.
func (e *engine) appetite() int {
	if e.density == 0 {
		return handful
	}
	return min(max(int(2*float64(e.portions.Records)/e.density), 1), most)
}

// open opens the place in the tracks; what has been read and not sent is read again.
func (e *engine) open(c *actors.Context) {
	e.reading, e.reopen = true, false
	archive, tracks, now := c.Archive(), e.cfg.Tracks, e.cfg.Begin == "now"
	c.Do(openTime, func(ctx context.Context) (any, error) {
		r, err := archive.Reader(ctx, tracks, now)
		return opened{r, err}, nil
	})
}

func (e *engine) opened(c *actors.Context, m opened) {
	e.reading, e.looked = false, true
	if m.err != nil {
		e.pause(c, m.err)
		return
	}
	e.trouble = ""
	if e.sending { // what is under way is not known any more to a place that is opened anew
		e.reopen = true
		return
	}
	e.reader, e.queue, e.suspects, e.skip, e.settled = m.reader, queue{}, 0, 0, 0
	e.follow.Again()
	e.measure(c)
}

// pause has the store left alone for a while.
func (e *engine) pause(c *actors.Context, err error) {
	_, e.trouble = actors.Explain(err)
	e.paused = time.Now().Add(pause)
	c.Degraded("the store of tracks: " + e.trouble)
	c.After(pause, again{})
}

// took takes what was read.
func (e *engine) took(c *actors.Context, m took) {
	e.reading = false
	e.rouse()
	if m.err != nil {
		if code, _ := actors.Explain(m.err); code != actors.DeadlineExceeded && !e.reopen {
			e.pause(c, m.err)
		}
		return
	}
	e.trouble = ""
	e.filled = len(m.messages) >= m.asked
	if e.queue.records == 0 {
		e.since = time.Now()
	}
	before := e.queue.records
	for _, s := range m.messages {
		if s.ContentType != record.ChunkType {
			e.queue.push(s.Seq, nil)
			continue
		}
		records, gaps, err := e.follow.Chunk(s.Path, s.Data)
		if err != nil {
			c.Log().Warn("a message of a track is passed over", "track", s.Path, "err", err)
		}
		for _, g := range gaps {
			e.counts.Lost += g.To - g.From + 1
			c.Event("gap", &uplinkv1.Gap{Time: timestamppb.Now(), Track: g.Track, From: g.From, To: g.To, Why: g.Why})
		}
		e.queue.push(s.Seq, records)
	}
	if n := len(m.messages); n > 0 {
		d := max(float64(e.queue.records-before)/float64(n), 0.01)
		if e.density == 0 {
			e.density = d
		}
		e.density += 0.25 * (d - e.density)
	}
	e.settle(c, 0)
}

// settle takes off so many entries, and acknowledges to the store what is done with.
func (e *engine) settle(c *actors.Context, n int) {
	e.settled = max(e.settled, e.queue.drop(n))
	if e.settled == 0 {
		return
	}
	if err := e.reader.Ack(e.settled); err != nil { // of what was delivered once more it has to be said once more
		c.Log().Debug("not acknowledged to the store", "err", err) // it is delivered again, and then known
	}
}
