package actors

import (
	"context"
	"errors"
	"io"
	"math"
	"time"

	"google.golang.org/protobuf/proto"
)

// Source provides the answers of a stream. Next may block until its context ends. Its error ends
// the stream; io.EOF is the regular end. Close is called once.
type Source interface {
	Next(ctx context.Context) (proto.Message, error)
	io.Closer
}

// Forever is the deadline of workers that end by themselves or with their life.
const Forever time.Duration = math.MaxInt64 / 2

// Stream answers the request being served with the messages of from, until from ends, the caller
// goes away or this life ends. The actor gets no message about it.
func (c *Context) Stream(from Source) {
	r := c.Take()
	if r == nil || c.l.over() {
		_ = from.Close()
		return
	}
	c.Do(Forever, func(ctx context.Context) (any, error) {
		defer func() { _ = from.Close() }()
		r.stream(ctx, from)
		return streamed{}, nil
	})
}

// streamed is the result of a worker that has streamed.
type streamed struct{}

func (r *Request) stream(life context.Context, from Source) {
	ctx, cancel := context.WithCancel(life)
	defer cancel()
	if !r.deadline.IsZero() {
		ctx, cancel = context.WithDeadline(ctx, r.deadline)
		defer cancel()
	}
	go func() {
		select {
		case <-r.canceled:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		m, err := from.Next(ctx)
		if err == nil {
			err = r.wait(ctx)
		}
		if err == nil {
			err = r.Send(m)
		}
		switch {
		case err == nil:
			continue
		case errors.Is(err, io.EOF):
			r.Reply(nil)
		case life.Err() != nil: // the end of the life answers all open requests
		default:
			r.Refuse(err)
		}
		return
	}
}

// wait waits until the caller of a streaming method accepts another answer.
func (r *Request) wait(ctx context.Context) error {
	r.mu.Lock()
	done := r.done
	r.mu.Unlock()
	if done || r.ready == nil {
		return nil // Send returns the reason
	}
	return r.ready(ctx)
}
