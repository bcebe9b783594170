package mqttbridge

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/protocols/backoff"
	"gatewayd/protocols/mqttbridge"
	"gatewayd/protocols/mqttclient"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

const (
	openTime  = 30 * time.Second
	readTime  = 10 * time.Minute // for what is written next
	readBytes = 256 << 10        // read ahead of what is under way
	mostRead  = 64               // batches that are read at once
	mostBytes = 4 << 20          // and their bytes, were each as large as it may be
	firstRead = 4                // as long as it is not known how large they are
	sendAgain = time.Second      // after the disk has failed
	fullAgain = 100 * time.Millisecond
	holdTime  = time.Minute // at most, after a refusal for now
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
	life    uint64             // that wrote the batch read last
	due     uint64             // messages of that life until there
	held    bool               // nothing goes out until unhold
	holds   int                // in a row, in which the broker has taken nothing
	moved   bool               // it has taken something since
	refusal string             // why the broker takes nothing for now
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
		waited time.Duration
	}
	resend struct{}
	unhold struct{}
)

// send does what can be done now to empty the outbox. It may be called at any time.
func (b *bridge) send(c *actors.Context) {
	o, k := &b.outbox.sending, b.link.client
	under := o.queue.Under()
	if k != nil && (len(under) == 0 || o.client == k) && !o.held { // what another connection had begun is known first
		o.client = k
		refused, expired, err := o.queue.Send(time.Now(), share(k.Window()), k.Offer)
		b.meter.refused += uint64(refused)
		b.meter.expired += uint64(expired)
		if under = o.queue.Under(); err != nil && len(under) == 0 && k.Open() {
			b.pause(c, fullAgain)
		}
	}
	if o.refusal != "" && !o.queue.Insists() {
		o.refusal = ""
		b.judge(c)
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
	most := appetite(room, o.size, int(b.cfg.MaxPayload))
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

// appetite is how many batches are read at once for room bytes, where those read last had size bytes, 0: there were none. Those that come may be
// as large as any.
func appetite(room, size, maxPayload int) int {
	if size == 0 {
		return firstRead
	}
	return min(max(room/size, 1), mostRead, max(1, mostBytes/max(batchBytes, maxPayload)))
}

// took takes what was read.
func (b *bridge) took(c *actors.Context, m took) {
	o := &b.outbox.sending
	o.reading, o.reader = false, m.reader
	bytes := 0
	for _, s := range m.batches {
		b.open(s)
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

// open takes out of a batch what it holds, which is nothing if it is none of ours, and counts what is missing before it: there was no room for it on
// disk. What went before the first batch that is read in a life of the bridge is not known.
func (b *bridge) open(s actors.Stored) {
	o := &b.outbox.sending
	var m mqttv1.BridgeOutbox
	if s.ContentType != outboxType || proto.Unmarshal(s.Data, &m) != nil {
		o.queue.Push(s.Seq, nil)
		return
	}
	if s.Seq > o.queue.Last() {
		if m.Life == o.life && m.First > o.due {
			b.meter.dropped += m.First - o.due
		} else if m.Life != o.life && (o.life != 0 || m.Life == b.outbox.life) {
			b.meter.dropped += m.First // at least these
		}
		o.life, o.due = m.Life, m.First+uint64(len(m.Messages))
	}
	var all []mqttbridge.Letter
	for _, m := range m.Messages {
		l := mqttbridge.Letter{Message: messageOf(m)}
		if m.Expires != nil {
			l.Expires = m.Expires.AsTime()
		}
		all = append(all, l)
	}
	o.queue.Push(s.Seq, all)
}

// wait has a worker wait for what the outside broker says of what is under way.
func (b *bridge) wait(c *actors.Context, under mqttbridge.Underway) {
	o := &b.outbox.sending
	if o.waiting || len(under) == 0 {
		return
	}
	o.waiting = true
	client, patience := o.client, b.patience(o.queue.Flying())
	c.Do(patience+10*time.Second, func(ctx context.Context) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return words{client, under.Words(ctx.Done()), patience}, nil
	})
}

// patience is after what time without any acknowledgement a broker is given up that has
// so many bytes to acknowledge: as one that is silent, or when they would have passed on a very slow link.
func (b *bridge) patience(bytes int) time.Duration {
	k := cmp.Or(b.cfg.KeepAlive.AsDuration(), 30*time.Second)
	return max(k+k/2, mqttclient.Slowest(bytes)) + 10*time.Second
}

// heard takes in what the outside broker has said.
func (b *bridge) heard(c *actors.Context, m words) {
	o := &b.outbox.sending
	o.waiting = false
	sent, refused, err := o.queue.Take(m.all)
	o.moved = o.moved || sent > 0
	b.meter.sent(sent)
	b.meter.refused += uint64(refused)
	if len(m.all) == 0 {
		err = fmt.Errorf("it takes messages and has acknowledged none for %s", m.waited)
	}
	switch {
	case m.client != b.link.client:
	case mqttbridge.ForNow(err):
		b.hold(c, err)
	case err != nil:
		b.lost(c, lost{b.link.number, err})
	}
	b.send(c)
}

// hold has nothing go out for a while: the broker refuses it for now.
func (b *bridge) hold(c *actors.Context, why error) {
	o := &b.outbox.sending
	if o.refusal != why.Error() {
		o.refusal = why.Error()
		b.judge(c)
	}
	if o.held {
		return
	}
	o.holds++
	if o.moved { // a quota that is refilled is used
		o.holds = 1
	}
	o.held, o.moved = true, false
	c.After(backoff.Pause(o.holds, backoff.Far, holdTime), unhold{})
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
