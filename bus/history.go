package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// Record is a stored message.
type Record struct {
	Msg
	Seq  uint64    // its sequence in the stream
	Time time.Time // when the bus stored it, by this gateway's clock
}

// page is how many stored messages are requested at once, and pageBytes their bytes: well below
// what makes the server disconnect a slow client.
const (
	page      = 512
	pageBytes = 512 << 10
)

// Last calls each with the last state of every subject under pattern (gw.demo.state.>), oldest
// change first. A state that changes meanwhile may be passed twice, the newer one later. On the
// gateway's own connection no state is missed; a dialled connection may miss one that was published
// milliseconds before. Last returns an *Error, Unavailable if nothing is stored, or the error of
// each.
func (c *Conn) Last(ctx context.Context, pattern string, each func(Record) error) error {
	var err error
	if queue := queueOf(streamState); slices.Contains(c.queues, queue) {
		brief, done := c.bounded(ctx, queue)
		err = c.settle(brief, queue)
		done()
	}
	if err == nil {
		_, err = c.scan(ctx, c.nc, streamState, pattern, 1, each)
	}
	if err != nil {
		return fmt.Errorf("last states of %s: %w", pattern, err)
	}
	return nil
}

// Events returns the last n stored events under pattern (gw.*.event.>), oldest first.
func (c *Conn) Events(ctx context.Context, pattern string, n int) ([]Record, error) {
	if n <= 0 {
		return nil, nil
	}
	last, ok, err := c.newest(ctx, c.keep, streamEvents, pattern)
	if err != nil || !ok {
		return nil, wrap(err, "events of %s", pattern)
	}
	// Look back further and further. For a wildcard the first pass is enough; a rare subject may
	// need the whole stream.
	for back := uint64(n); ; back *= 8 {
		from := uint64(1)
		if last.Seq > back {
			from = last.Seq - back + 1
		}
		var found []Record
		_, err := c.scan(ctx, c.keep, streamEvents, pattern, from, func(r Record) error {
			found = append(found, r)
			if len(found) > 2*n {
				found = append(found[:0], found[len(found)-n:]...)
			}
			return nil
		})
		if err != nil {
			return nil, wrap(err, "events of %s", pattern)
		}
		if len(found) >= n || from == 1 {
			return found[max(0, len(found)-n):], nil
		}
	}
}

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
}

type directGet struct {
	Seq      uint64 `json:"seq,omitempty"`
	LastFor  string `json:"last_by_subj,omitempty"`
	NextFor  string `json:"next_by_subj,omitempty"`
	Batch    int    `json:"batch,omitempty"`
	MaxBytes int    `json:"max_bytes,omitempty"`
}

// newest returns the last message under pattern; ok is false if there is none.
func (c *Conn) newest(ctx context.Context, nc *nats.Conn, stream, pattern string) (r Record, ok bool, err error) {
	_, err = c.fetch(ctx, nc, stream, directGet{LastFor: pattern}, func(got Record) error {
		r, ok = got, true
		return nil
	})
	return r, ok, err
}

// scan reads the stream's messages under pattern from sequence from on, page by page, and returns
// the last sequence seen. (The server's multi-last request is limited to 1024 subjects. STATE keeps
// one message per subject, so scanning from the start gives the same result without that limit.)
func (c *Conn) scan(ctx context.Context, nc *nats.Conn, stream, pattern string, from uint64, each func(Record) error) (uint64, error) {
	last := uint64(0)
	for {
		more, err := c.fetch(ctx, nc, stream, directGet{Seq: from, NextFor: pattern, Batch: page, MaxBytes: pageBytes}, func(r Record) error {
			last, from = r.Seq, r.Seq+1
			return each(r)
		})
		if err != nil || !more {
			return last, err
		}
	}
}

// fetch makes one direct get; more is true if the server has further messages.
func (c *Conn) fetch(ctx context.Context, nc *nats.Conn, stream string, req directGet, each func(Record) error) (more bool, err error) {
	subject, err := c.direct(stream, req)
	if err != nil {
		return false, err
	}
	ctx, done := c.bounded(ctx, subject)
	defer done()
	body, err := json.Marshal(req)
	if err != nil {
		return false, err
	}
	box := nc.NewInbox()
	sub, err := nc.SubscribeSync(box)
	if err != nil {
		return false, c.reason(ctx, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := nc.PublishRequest(subject, box, body); err != nil {
		return false, c.reason(ctx, err)
	}
	got := false
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if errors.Is(err, nats.ErrNoResponders) && c.hub && streamOf[State] == stream {
			return false, away(subject)
		}
		if errors.Is(err, nats.ErrNoResponders) {
			return false, Errorf(Unavailable, "stream %s does not exist: the store of the gateway does not work", stream)
		}
		if err != nil {
			return false, c.reason(ctx, err)
		}
		switch status := first(m.Header, "Status"); status {
		case "":
		case "204":
			n, _ := strconv.ParseUint(first(m.Header, "Nats-Num-Pending"), 10, 64)
			return n > 0 && got, nil
		case "404":
			return false, nil
		default:
			return false, Errorf(Internal, "stream %s: %s %s", stream, status, first(m.Header, "Description"))
		}
		got = true
		if err := each(c.record(m)); err != nil {
			return false, err
		}
		if req.Batch == 0 {
			return false, nil
		}
	}
}

func (c *Conn) record(m *nats.Msg) Record {
	r := Record{Msg: c.message(m)}
	r.Subject, r.Reply = first(m.Header, "Nats-Subject"), ""
	r.Seq, _ = strconv.ParseUint(first(m.Header, "Nats-Sequence"), 10, 64)
	r.Time, _ = time.Parse(time.RFC3339Nano, first(m.Header, "Nats-Time-Stamp"))
	for _, k := range []string{"Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp", "Nats-Stream", "Nats-Num-Pending", "Nats-Last-Sequence"} {
		delete(r.Header, k)
	}
	return r
}
