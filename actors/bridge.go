package actors

import (
	"context"
	"errors"
	"time"

	"gatewayd/bus"
)

// These are the methods that actors bridging to another network need of the bus beyond Bus.
// *bus.Conn has all of them; the buses of some tests do not.
type (
	localSubscriber interface {
		SubscribeLocal(pattern string, hear func(bus.LocalMsg)) (stop func(), ok bool)
	}
	keeper interface {
		Last(ctx context.Context, pattern string, each func(bus.Record) error) error
	}
	streamer interface {
		StreamRaw(ctx context.Context, subject, contentType string, payload []byte, each func(bus.Msg) error) error
	}
)

// lastTime is how long the bus may take to deliver all last states.
const lastTime = 30 * time.Second

// Subscribe delivers every message on filter as Delivery until this life ends. filter is an
// MQTT-style filter below the gateway, like "data/#" or "state/+/health". Messages that exceed the
// mailbox are shed and counted.
func (c *Context) Subscribe(filter string) error {
	pattern, err := bus.Pattern(c.l.cell.sys.Gateway, filter)
	if err != nil {
		return err
	}
	post := c.Post()
	if b, ok := c.l.cell.sys.Bus.(localSubscriber); ok {
		if stop, ok := b.SubscribeLocal(pattern, overhear(post)); ok {
			c.l.stops = append(c.l.stops, stop)
			return nil
		}
	}
	stop, err := c.l.cell.sys.Bus.Subscribe(pattern, func(m bus.Msg) {
		if topic, ok := bus.Topic(m.Subject); ok {
			_ = post(Delivery{Topic: topic, ContentType: m.ContentType, Payload: m.Data}) // a shed message is counted
		}
	})
	if err == nil {
		c.l.stops = append(c.l.stops, stop)
	}
	return err
}

// overhear returns a function that posts messages published by this process as Delivery.
func overhear(post func(any) error) func(bus.LocalMsg) {
	return func(o bus.LocalMsg) {
		topic, ok := bus.Topic(o.Subject)
		// A shed message is counted.
		if !ok || post(Delivery{Topic: topic, ContentType: o.ContentType, Payload: o.Data, buffer: o.Buffer()}) != nil {
			o.Buffer().Done()
		}
	}
}

// Last delivers the stored state of every subject under filter, e.g. "state/#", as Delivery with
// Kept set, and then the message end. If the bus cannot deliver them, Failed with Of set to end
// arrives instead of end. If there is a Subscribe as well, a stored state may arrive after a newer
// one, so a Delivery with Kept must not replace one without.
func (c *Context) Last(filter string, end any) {
	l := c.l
	pattern, err := bus.Pattern(l.cell.sys.Gateway, filter)
	b, ok := l.cell.sys.Bus.(keeper)
	if err == nil && !ok {
		err = bus.Errorf(bus.Unimplemented, "this bus stores no states")
	}
	c.Do(lastTime, func(ctx context.Context) (any, error) {
		if err != nil {
			return Failed{end, err}, nil
		}
		err := b.Last(ctx, pattern, func(r bus.Record) error {
			topic, ok := bus.Topic(r.Subject)
			if !ok {
				return nil
			}
			return l.push(ctx, Delivery{Topic: topic, ContentType: r.ContentType, Payload: r.Data, Kept: true}, nil)
		})
		if err != nil {
			return Failed{end, err}, nil
		}
		return end, nil
	})
}

// Call sends a command that came from outside to a topic, cmd/<path>/<Method>, with its payload
// unchanged. The outcome arrives as Called; a streaming method of this process gives one Called for
// each answer and one for the end. cancel, which any goroutine may call, ends the call early: the
// outcome is then an error.
func (c *Context) Call(topic, contentType string, payload []byte, timeout time.Duration, tag any) (cancel func()) {
	l, s, w := c.l, c.l.cell.sys, c.Caller()
	if b, ok := s.Bus.(streamer); ok && s.streams(topic) {
		return c.callStream(b, w, topic, contentType, payload, timeout, tag)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	out := &later{life: l, req: c.req.hold()}
	s.beginAs(ctx, w, topic, contentType, payload, func(r reply) {
		cancel()
		out.msg = Called{Tag: tag, ContentType: r.typ, Payload: r.payload, Err: r.err}
		l.cell.post(out)
	})
	return cancel
}

// beginAs carries out a call with its payload as it came from outside.
func (s *System) beginAs(ctx context.Context, w Caller, topic, contentType string, payload []byte, told func(reply)) {
	call := &local{typ: contentType, payload: payload}
	call.caller = w
	s.begin(ctx, topic, call, told)
}

// callStream is Call for a streaming method. The call goes over the bus, which numbers the answers
// and notices when either side has gone.
func (c *Context) callStream(b streamer, w Caller, topic, contentType string, payload []byte, timeout time.Duration, tag any) (cancel func()) {
	given, cancel := context.WithCancel(context.Background())
	l, req := c.l, c.req
	subject, err := bus.FromTopic(l.cell.sys.Gateway, topic)
	c.Do(timeout+time.Second, func(ctx context.Context) (any, error) {
		if err != nil {
			return Called{Tag: tag, Err: bus.Errorf(bus.InvalidArgument, "%s", err)}, nil
		}
		defer cancel()
		ctx, over := context.WithTimeout(bus.WithCaller(ctx, w), timeout)
		defer over()
		defer context.AfterFunc(given, over)()
		err := b.StreamRaw(ctx, subject, contentType, payload, func(m bus.Msg) error {
			return l.push(ctx, Called{Tag: tag, ContentType: m.ContentType, Payload: m.Data, Stream: true, More: true}, req)
		})
		return Called{Tag: tag, Err: bare(err), Stream: true}, nil
	})
	return cancel
}

// bare strips the bus subject from an error. It means nothing to a caller who named a topic.
func bare(err error) error {
	var e *bus.Error
	if errors.As(err, &e) {
		return e
	}
	return err
}

// streams reports whether a command is answered by a stream.
func (s *System) streams(topic string) bool {
	path, name, err := bus.ParseCommand(topic)
	if err != nil {
		return false
	}
	_, m, ok := s.find(path, name)
	return ok && m.desc.IsStreamingServer()
}

// push is Post for a worker: while too many messages are waiting, it waits as well.
func (l *life) push(ctx context.Context, msg any, r *Request) error {
	for {
		if l.over() || l.done.Load() {
			return bus.Errorf(bus.Aborted, "this life of %s is over", l.cell.path)
		}
		err := l.cell.offer(&later{life: l, msg: msg, req: r.hold()})
		if err == nil {
			return nil
		}
		r.drop()
		var full *bus.Error
		if !errors.As(err, &full) || full.Code != bus.ResourceExhausted {
			return err
		}
		select {
		case <-ctx.Done():
			return gaveUp(ctx)
		case <-time.After(time.Millisecond):
		}
	}
}
