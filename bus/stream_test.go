package bus_test

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"gatewayd/bus"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// counting answers a request for n with 1..n and an end marker; 0 never ends, negative fails after
// -n answers.
func counting(t *testing.T, c *bus.Conn, gone chan<- error) string {
	t.Helper()
	_, err := c.Subscribe("gw.demo.cmd.>", func(m bus.Msg) {
		n := &wrapperspb.Int64Value{}
		if err := m.Decode(n); err != nil {
			_ = m.Fail(err)
			return
		}
		go func() {
			for i := int64(1); n.Value <= 0 || i <= n.Value; i++ {
				if n.Value < 0 && i > -n.Value {
					_ = m.End(bus.Errorf(bus.Aborted, "broken at %d", i))
					return
				}
				if n.Value == 0 && i > 3 {
					<-m.Done()
				}
				if err := m.Send(wrapperspb.Int64(i)); err != nil {
					gone <- err
					return
				}
			}
			_ = m.End(nil)
		}()
	})
	if err != nil {
		t.Fatal(err)
	}
	return bus.Subject("demo", bus.Cmd, "field/line-1", "Count")
}

func TestStream(t *testing.T) {
	c := start(t, nil).Conn()
	gone := make(chan error, 4)
	subject := counting(t, c, gone)
	read := func(ctx context.Context, n int64, each func(int64) error) (got []int64, err error) {
		err = c.Stream(ctx, subject, wrapperspb.Int64(n), func(m bus.Msg) error {
			v := &wrapperspb.Int64Value{}
			if err := m.Decode(v); err != nil {
				return err
			}
			got = append(got, v.Value)
			if each != nil {
				return each(v.Value)
			}
			return nil
		})
		return got, err
	}
	t.Run("complete", func(t *testing.T) {
		got, err := read(within(t), 1000, nil)
		if err != nil || len(got) != 1000 || got[999] != 1000 {
			t.Fatal(len(got), err)
		}
	})
	t.Run("fails on the way", func(t *testing.T) {
		got, err := read(within(t), -2, nil)
		if code(err) != bus.Aborted || len(got) != 2 {
			t.Fatal(got, err)
		}
	})
	t.Run("caller cancels", func(t *testing.T) {
		ctx, cancel := context.WithCancel(within(t))
		_, err := read(ctx, 0, func(i int64) error {
			if i == 3 {
				cancel()
			}
			return nil
		})
		if code(err) != bus.Canceled || code(receive(t, gone)) != bus.Canceled {
			t.Fatal(err)
		}
	})
	t.Run("caller has had enough", func(t *testing.T) {
		enough := errors.New("enough")
		_, err := read(within(t), 0, func(int64) error { return enough })
		if !errors.Is(err, enough) {
			t.Fatal(err)
		}
		receive(t, gone)
	})
	t.Run("deadline reaches the actor", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(within(t), 3*time.Second) // time for the request to reach the actor
		defer cancel()
		_, err := read(ctx, 0, nil)
		if code(err) != bus.DeadlineExceeded || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		receive(t, gone)
	})
	t.Run("nobody there", func(t *testing.T) {
		err := c.Stream(within(t), "gw.other.cmd.x.Y", wrapperspb.Int64(1), func(bus.Msg) error { return nil })
		if code(err) != bus.Unavailable {
			t.Fatal(err)
		}
	})
	t.Run("a method that answers once", func(t *testing.T) {
		stop, err := c.Subscribe("gw.once.cmd.>", func(m bus.Msg) { _ = m.Respond(wrapperspb.Int64(7)) })
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		n := 0
		err = c.Stream(within(t), "gw.once.cmd.x.Y", wrapperspb.Int64(1), func(bus.Msg) error { n++; return nil })
		if err != nil || n != 1 {
			t.Fatal(n, err)
		}
	})
	t.Run("protobuf", func(t *testing.T) {
		p, _ := proto.Marshal(wrapperspb.Int64(2))
		n := 0
		err := c.StreamRaw(within(t), subject, bus.Protobuf, p, func(m bus.Msg) error {
			n++
			if m.ContentType != bus.Protobuf {
				t.Error(m.ContentType)
			}
			return nil
		})
		if err != nil || n != 2 {
			t.Fatal(n, err)
		}
	})
}

// A client that knows nothing of this package gets numbered answers and an end marker in plain
// headers.
func TestStreamToPlainClient(t *testing.T) {
	b := start(t, func(c *bus.Config) { c.Listen = "127.0.0.1:0"; c.Anonymous = bus.Operator })
	subject := counting(t, b.Conn(), make(chan error, 1))
	nc, err := nats.Connect(b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync(nc.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.PublishRequest(subject, sub.Subject, []byte(`"3"`)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1", "2", "3"} {
		m, err := sub.NextMsgWithContext(within(t))
		if err != nil || m.Header.Get("Gw-Seq") != want || string(m.Data) != `"`+want+`"` {
			t.Fatalf("%+v %v", m, err)
		}
	}
	m, err := sub.NextMsgWithContext(within(t))
	if err != nil || m.Header.Get("Gw-End") != "3" || len(m.Data) != 0 {
		t.Fatalf("%+v %v", m, err)
	}
}

// The control messages: a renewal is answered, and the stream of a caller that stops renewing is
// closed.
func TestLease(t *testing.T) {
	b := start(t, func(c *bus.Config) { c.Listen = "127.0.0.1:0"; c.Anonymous = bus.Operator })
	gone := make(chan error, 1)
	subject := counting(t, b.Conn(), gone)
	nc, err := nats.Connect(b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync(nc.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	send := func(h nats.Header) {
		t.Helper()
		if err := nc.PublishMsg(&nats.Msg{Subject: subject, Reply: sub.Subject, Header: h, Data: []byte(`"0"`)}); err != nil {
			t.Fatal(err)
		}
	}
	const lease = 4 * time.Second // time to renew it
	begin := time.Now()
	send(nats.Header{"Gw-Lease": {strconv.FormatInt(lease.Milliseconds(), 10)}, "Gw-Stream": {"mine"}})
	for range 3 {
		if m, err := sub.NextMsgWithContext(within(t)); err != nil || m.Header.Get("Gw-Seq") == "" {
			t.Fatal(m, err)
		}
	}
	send(nats.Header{"Gw-Renew": {"mine"}})
	if m, err := sub.NextMsgWithContext(within(t)); err != nil || m.Header.Get("Gw-Alive") == "" {
		t.Fatal(m, err)
	}
	if err := receive(t, gone); code(err) != bus.Canceled || time.Since(begin) < lease {
		t.Fatal(err, time.Since(begin))
	}
}

// A slow caller holds back a sender of many answers, and misses none.
func TestSlowReader(t *testing.T) {
	c := start(t, nil).Conn()
	const all, window = 20_000, 256
	var sent atomic.Int64
	_, err := c.Subscribe("gw.demo.cmd.>", func(m bus.Msg) {
		go func() {
			for i := range int64(all) {
				if m.Ready(t.Context()) != nil || m.Send(wrapperspb.Int64(i)) != nil {
					return
				}
				sent.Add(1)
			}
			_ = m.End(nil)
		}()
	})
	if err != nil {
		t.Fatal(err)
	}
	got, most := int64(0), int64(0)
	err = c.Stream(within(t), "gw.demo.cmd.lab.Count", wrapperspb.Int64(0), func(bus.Msg) error {
		if got++; got == 1 {
			waitFor(t, "a window full of answers", func() bool { return sent.Load() >= window })
		}
		most = max(most, sent.Load()-got)
		return nil
	})
	if err != nil || got != all || most > window {
		t.Errorf("%d answers of %d, %d of them on their way at once, %v", got, all, most, err)
	}
}

// A caller that takes longer for one answer than its lease lasts gets the others as well.
func TestSlowAnswer(t *testing.T) {
	t.Parallel()
	c := start(t, nil).Conn()
	_, err := c.Subscribe("gw.demo.cmd.>", func(m bus.Msg) {
		go func() {
			_ = m.Send(wrapperspb.Int64(1))
			select {
			case <-m.Done():
			case <-time.After(17 * time.Second): // a lease is 15 s
			}
			_ = m.End(m.Send(wrapperspb.Int64(2)))
		}()
	})
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	err = c.Stream(within(t), "gw.demo.cmd.lab.Count", wrapperspb.Int64(0), func(bus.Msg) error {
		if got++; got == 1 {
			time.Sleep(17 * time.Second)
		}
		return nil
	})
	if err != nil || got != 2 {
		t.Errorf("%d answers of 2, %v", got, err)
	}
}

// A caller's control messages do not wait for an answer that is being sent, and neither do later
// messages of other callers.
func TestWordsPassAnswers(t *testing.T) {
	b := start(t, func(c *bus.Config) { c.Listen = "127.0.0.1:0"; c.Anonymous = bus.Operator })
	subject := counting(t, b.Conn(), make(chan error, 1))
	nc, err := nats.Connect(b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	sub, err := nc.SubscribeSync(nc.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	send := func(h nats.Header) {
		t.Helper()
		if err := nc.PublishMsg(&nats.Msg{Subject: subject, Reply: sub.Subject, Header: h, Data: []byte(`"0"`)}); err != nil {
			t.Fatal(err)
		}
	}
	send(nats.Header{"Gw-Lease": {"60000"}, "Gw-Stream": {"mine"}})
	for range 3 {
		if m, err := sub.NextMsgWithContext(within(t)); err != nil || m.Header.Get("Gw-Seq") == "" {
			t.Fatal(m, err)
		}
	}
	defer b.Conn().Sending()()
	send(nats.Header{"Gw-Ack": {"mine"}, "Gw-Seq": {"3"}})
	send(nats.Header{"Gw-Renew": {"mine"}})
	if m, err := sub.NextMsgWithContext(within(t)); err != nil || m.Header.Get("Gw-Alive") == "" {
		t.Fatal(m, err)
	}
}

// A caller that sends a window gets that many answers, and more when it has acknowledged.
func TestWindow(t *testing.T) {
	b := start(t, func(c *bus.Config) { c.Listen = "127.0.0.1:0"; c.Anonymous = bus.Operator })
	sent, gone := make(chan int, 16), make(chan error, 1)
	_, err := b.Conn().Subscribe("gw.demo.cmd.>", func(m bus.Msg) {
		go func() {
			for i := 1; ; i++ {
				if err := m.Ready(t.Context()); err != nil {
					gone <- err
					return
				}
				_ = m.Send(wrapperspb.Int64(int64(i)))
				sent <- i
			}
		}()
	})
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	say := func(h nats.Header) {
		t.Helper()
		m := &nats.Msg{Subject: "gw.demo.cmd.lab.Count", Reply: nats.NewInbox(), Header: h, Data: []byte("{}")}
		if err := nc.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	say(nats.Header{"Gw-Stream": {"mine"}, "Gw-Window": {"2"}})
	for i, ack := range []string{"", "1", "3", "99"} { // answers that were not sent cannot be acknowledged
		if ack != "" {
			say(nats.Header{"Gw-Ack": {"mine"}, "Gw-Seq": {ack}})
		}
		for _, want := range [][]int{{1, 2}, {3}, {4, 5}, {6, 7}}[i] {
			if got := receive(t, sent); got != want {
				t.Fatalf("after %q: answer %d, want %d", ack, got, want)
			}
		}
	}
	if len(sent) > 0 {
		t.Errorf("%d answers beyond the window", len(sent))
	}
	say(nats.Header{"Gw-Cancel": {"mine"}})
	if err := receive(t, gone); code(err) != bus.Canceled {
		t.Error(err)
	}
	say(nats.Header{"Gw-Window": {"2"}, "Gw-Lease": {"1000"}}) // without a stream id it cannot acknowledge
	for want := range 10 {
		if got := receive(t, sent); got != want+1 {
			t.Fatalf("without an id: answer %d, want %d", got, want+1)
		}
	}
	for {
		select {
		case <-sent:
		case err := <-gone:
			if code(err) != bus.Canceled {
				t.Error(err)
			}
			return
		}
	}
}
