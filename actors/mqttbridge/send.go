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
	readTime  = 10 * time.Minute // for the next batch
	readBytes = 256 << 10        // read ahead of what is under way
	maxRead   = 64               // batches per read at most
	firstRead = 4                // batches in the first read, while their size is unknown
	sendAgain = time.Second      // after a failure of the disk
	fullAgain = 100 * time.Millisecond
	holdTime  = time.Minute // longest pause after a temporary refusal
)

// sending is what has been read from the outbox and not yet acknowledged by the outside broker.
// Many batches are under way at once. Each is acknowledged on disk as soon as the broker has
// acknowledged all of it and of the batches before it.
type sending struct {
	reader  *actors.Reader // nil: not open yet
	reading bool           // a worker waits for batches on disk
	paused  bool           // until resend
	size    int            // average size of the batches read last, in bytes
	queue   mqttbridge.Queue
	client  *mqttclient.Client // the client that was given what is under way
	waiting bool               // a worker waits for acknowledgements
	settled uint64             // store sequence of the newest completed batch
	life    uint64             // life of the bridge that wrote the batch read last
	due     uint64             // messages of that life up to and including that batch
	held    bool               // nothing is sent until unhold
	holds   int                // consecutive holds in which the broker accepted nothing
	moved   bool               // the broker has accepted something since
	refusal string             // why the broker accepts nothing at present
	stuck   string             // why nothing is sent although there is a connection
}

type (
	took struct {
		reader  *actors.Reader
		batches []actors.Stored
		err     error
	}
	outcomes struct {
		client *mqttclient.Client
		all    []error // empty: none came in time
		waited time.Duration
	}
	resend struct{}
	unhold struct{}
)

// send does whatever can be done now to empty the outbox. It may be called at any time.
func (b *bridge) send(c *actors.Context) {
	o, k := &b.outbox.sending, b.link.client
	under := o.queue.InFlight()
	// Wait for the outcome of what an earlier connection began.
	if k != nil && (len(under) == 0 || o.client == k) && !o.held {
		o.client = k
		refused, expired, err := o.queue.Send(time.Now(), share(k.Window()), k.Offer)
		b.meter.refused += uint64(refused)
		b.meter.expired += uint64(expired)
		if under = o.queue.InFlight(); err != nil && len(under) == 0 && k.Open() {
			b.pause(c, fullAgain)
		}
	}
	if o.refusal != "" && !o.queue.HasRefused() {
		o.refusal = ""
		b.judge(c)
	}
	b.settle(c)
	b.read(c)
	b.wait(c, under)
}

// share returns the part of the window for messages from disk. It leaves room for other messages,
// unless the window is 1.
func share(window int) int { return max(1, window*3/4) }

// read reads more batches when there is room and something can be sent. The read position is opened
// in any case, because the size of the backlog matters most when nothing can be sent.
func (b *bridge) read(c *actors.Context) {
	o := &b.outbox.sending
	room, idle := readBytes-o.queue.Bytes(), b.link.client == nil
	if o.reading || o.paused || o.reader != nil && (idle || room <= 0) {
		return
	}
	o.reading = true
	most := batchesToRead(room, o.size)
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

// batchesToRead returns how many batches to read for room bytes. size is the average size of the
// batches read last; 0: none yet. The reader limits the bytes of one read, however large the
// batches are.
func batchesToRead(room, size int) int {
	if size == 0 {
		return firstRead
	}
	return min(max(room/size, 1), maxRead)
}

// took handles batches that were read.
func (b *bridge) took(c *actors.Context, m took) {
	o := &b.outbox.sending
	o.reading, o.reader = false, m.reader
	b.shed()
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
		if m.reader == nil || code != actors.DeadlineExceeded { // at the deadline there was just nothing to send
			stuck = why
			b.pause(c, sendAgain)
		}
	}
	b.stick(c, stuck)
	b.send(c)
}

// shed discards what was read ahead while nothing can be sent; it will be read again.
func (b *bridge) shed() {
	if o := &b.outbox.sending; b.link.client == nil && !o.reading && o.reader != nil {
		o.reader.Shed()
	}
}

// open unpacks a batch, which is empty if it is not ours. It counts messages missing before the
// batch, for which there was no room on disk. What was dropped before the first batch that a life
// reads is unknown.
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
	var all []mqttbridge.Outgoing
	for _, m := range m.Messages {
		l := mqttbridge.Outgoing{Message: messageOf(m)}
		if m.Expires != nil {
			l.Expires = m.Expires.AsTime()
		}
		all = append(all, l)
	}
	o.queue.Push(s.Seq, all)
}

// wait starts a worker that waits for the broker's acknowledgements.
func (b *bridge) wait(c *actors.Context, under mqttbridge.InFlight) {
	o := &b.outbox.sending
	if o.waiting || len(under) == 0 {
		return
	}
	o.waiting = true
	client, patience := o.client, b.ackTimeout(o.queue.InFlightBytes())
	c.Do(patience+10*time.Second, func(ctx context.Context) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return outcomes{client, under.Wait(ctx.Done()), patience}, nil
	})
}

// ackTimeout returns how long to wait for an acknowledgement before the broker is given up: the
// time after which it counts as silent, or longer if that many bytes would take longer on a very
// slow link.
func (b *bridge) ackTimeout(bytes int) time.Duration {
	k := cmp.Or(b.cfg.KeepAlive.AsDuration(), 30*time.Second)
	return max(k+k/2, mqttclient.Slowest(bytes)) + 10*time.Second
}

// acknowledged handles the broker's acknowledgements.
func (b *bridge) acknowledged(c *actors.Context, m outcomes) {
	o := &b.outbox.sending
	o.waiting = false
	sent, refused, err := o.queue.Take(m.all)
	o.moved = o.moved || sent > 0
	b.meter.sent(sent)
	b.meter.refused += uint64(refused)
	if len(m.all) == 0 {
		err = fmt.Errorf("it accepts messages but has not acknowledged any for %s", m.waited)
	}
	switch {
	case m.client != b.link.client:
	case mqttbridge.Temporary(err):
		b.hold(c, err)
	case err != nil:
		b.lost(c, lost{b.link.number, err})
	}
	b.send(c)
}

// hold stops sending for a while, because the broker refuses messages at present.
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
	if o.moved { // a quota that is refilled is being used
		o.holds = 1
	}
	o.held, o.moved = true, false
	c.After(backoff.Pause(o.holds, backoff.Far, holdTime), unhold{})
}

// settle acknowledges completed batches on disk.
func (b *bridge) settle(c *actors.Context) {
	o := &b.outbox.sending
	o.settled = max(o.settled, o.queue.Done())
	if o.settled == 0 || o.reader == nil {
		return
	}
	if err := o.reader.Ack(o.settled); err != nil { // a redelivered batch must be acknowledged again
		// It is redelivered and recognised then.
		c.Log().Debug("cannot acknowledge to the store", "err", err)
	}
}

// pause schedules a call of send.
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
