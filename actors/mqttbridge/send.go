package mqttbridge

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/protocols/mqttbridge"
	"gatewayd/protocols/mqttclient"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

const (
	openTime  = 30 * time.Second
	readTime  = 10 * time.Minute // for what is written next
	readBytes = 256 << 10        // read ahead of what is under way
	mostRead  = 64               // batches that are read at once
	firstRead = 4                // as long as it is not known how large they are
	sendAgain = time.Second      // after the disk has failed
	fullAgain = 100 * time.Millisecond
)

// sending is what of the outbox has been read and not been acknowledged by the outside
// broker. Many batches are under way at once; each is given up on disk as soon as all
// of it and of those before it has been acknowledged.
type sending struct {
	reader  *actors.Reader // nil: not open yet
	reading bool           // a worker waits for what is on disk
	paused  bool           // until resend
	size    int            // bytes of a batch, of those read last
	queue   mqttbridge.Queue
	client  *mqttclient.Client // that what is under way was given to
	waiting bool               // a worker waits for its words
	settled uint64             // the newest batch that is done with
	stuck   string             // why nothing is sent although the connection stands
}

type (
	took struct {
		reader  *actors.Reader
		batches []actors.Stored
		err     error
	}
	words struct {
		client *mqttclient.Client
		all    []error // none: none came in time
	}
	resend struct{}
)

// send does what can be done now to empty the outbox. It may be called at any time.
func (b *bridge) send(c *actors.Context) {
	o, k := &b.outbox.sending, b.link.client
	under := o.queue.Under()
	if k != nil && (len(under) == 0 || o.client == k) { // what another connection had begun is known first
		o.client = k
		refused, err := o.queue.Send(time.Now(), share(k.Window()), k.Offer)
		b.meter.refused += uint64(refused)
		if under = o.queue.Under(); err != nil && len(under) == 0 && k.Open() {
			b.pause(c, fullAgain)
		}
	}
	b.settle(c)
	b.read(c)
	b.wait(c, under)
}

// share leaves room in the window for what does not come from disk, but for a window of 1.
func share(window int) int { return max(1, window*3/4) }

// read has more read when there is room, and unless nothing can be sent anyway. The
// place on disk is open before: how much waits is of interest above all when nothing
// can be sent.
func (b *bridge) read(c *actors.Context) {
	o := &b.outbox.sending
	room, idle := readBytes-o.queue.Bytes(), b.link.client == nil
	if o.reading || o.paused || o.reader != nil && (idle || room <= 0) {
		return
	}
	o.reading = true
	most := firstRead
	if o.size > 0 {
		most = min(max(room/o.size, 1), mostRead)
	}
	archive, name, reader := c.Archive(), c.Name(), o.reader
	c.Do(openTime+readTime+10*time.Second, func(ctx context.Context) (any, error) {
		t := took{reader: reader}
		if t.reader == nil {
			open, cancel := context.WithTimeout(ctx, openTime)
			defer cancel()
			if t.reader, t.err = archive.Reader(open, []string{name}, false); t.err != nil {
				return t, nil
			}
		}
		if idle {
			return t, nil
		}
		next, cancel := context.WithTimeout(ctx, readTime)
		defer cancel()
		t.batches, t.err = t.reader.Next(next, most)
		return t, nil
	})
}

// took takes what was read.
func (b *bridge) took(c *actors.Context, m took) {
	o := &b.outbox.sending
	o.reading, o.reader = false, m.reader
	bytes := 0
	for _, s := range m.batches {
		o.queue.Push(s.Seq, lettersOf(s))
		bytes += len(s.Data)
	}
	if n := len(m.batches); n > 0 {
		o.size = bytes/n + 1
	}
	stuck := ""
	if m.err != nil {
		code, why := actors.Explain(m.err)
		if m.reader == nil || code != actors.DeadlineExceeded { // there was nothing to send
			stuck = why
			b.pause(c, sendAgain)
		}
	}
	b.stick(c, stuck)
	b.send(c)
}

// lettersOf is what a batch holds; none if it is none of ours.
func lettersOf(s actors.Stored) (all []mqttbridge.Letter) {
	var m mqttv1.BridgeOutbox
	if s.ContentType != outboxType || proto.Unmarshal(s.Data, &m) != nil {
		return nil
	}
	for _, m := range m.Messages {
		l := mqttbridge.Letter{Message: messageOf(m)}
		if m.Expires != nil {
			l.Expires = m.Expires.AsTime()
		}
		all = append(all, l)
	}
	return all
}

// wait has a worker wait for what the outside broker says of what is under way.
func (b *bridge) wait(c *actors.Context, under mqttbridge.Underway) {
	o := &b.outbox.sending
	if o.waiting || len(under) == 0 {
		return
	}
	o.waiting = true
	client, patience := o.client, b.patience()
	c.Do(patience+10*time.Second, func(ctx context.Context) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return words{client, under.Words(ctx.Done())}, nil
	})
}

// patience is after what time without any acknowledgement a broker is given up that has
// something to acknowledge: as one that is silent.
func (b *bridge) patience() time.Duration {
	k := cmp.Or(b.cfg.KeepAlive.AsDuration(), 30*time.Second)
	return k + k/2 + 10*time.Second
}

// heard takes in what the outside broker has said.
func (b *bridge) heard(c *actors.Context, m words) {
	o := &b.outbox.sending
	o.waiting = false
	sent, refused, err := o.queue.Take(m.all)
	b.meter.sent(sent)
	b.meter.refused += uint64(refused)
	if len(m.all) == 0 {
		err = fmt.Errorf("it takes messages and has acknowledged none for %s", b.patience())
	}
	if err != nil && m.client == b.link.client {
		b.lost(c, lost{b.link.number, err})
	}
	b.send(c)
}

// settle gives up on disk what is done with.
func (b *bridge) settle(c *actors.Context) {
	o := &b.outbox.sending
	o.settled = max(o.settled, o.queue.Done())
	if o.settled == 0 || o.reader == nil {
		return
	}
	if err := o.reader.Ack(o.settled); err != nil { // of what was delivered once more it has to be said once more
		c.Log().Debug("not acknowledged to the store", "err", err) // it is delivered again, and then known
	}
}

// pause has send called later.
func (b *bridge) pause(c *actors.Context, d time.Duration) {
	if !b.outbox.paused {
		b.outbox.paused = true
		c.After(d, resend{})
	}
}

func (b *bridge) stick(c *actors.Context, why string) {
	if b.outbox.stuck != why {
		b.outbox.stuck = why
		b.judge(c)
	}
}
