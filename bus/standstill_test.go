package bus

import (
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// still is an in-process connection whose reader can be stalled.
type still struct {
	*current
	sync.RWMutex
}

func (s *still) InProcessConn() (net.Conn, error) {
	c, err := s.current.InProcessConn()
	return &stillConn{c, s}, err
}

type stillConn struct {
	net.Conn
	of *still
}

func (c *stillConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b[:min(len(b), 4<<10)])
	c.of.RLock()
	defer c.of.RUnlock()
	return n, err
}

// When the machine stalls for seconds, as virtual ones do, no client is disconnected.
func TestStandstill(t *testing.T) {
	b, err := Start(Config{Gateway: "demo", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	s := &still{current: &b.server}
	cut := make(chan error, 1)
	me := b.ids[0]
	nc, err := nats.Connect("", nats.InProcessServer(s), nats.Nkey(me.public, me.pair.Sign), nats.NoReconnect(),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { cut <- err }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	got := make(chan int, 16)
	if _, err := nc.Subscribe("gw.demo.data.>", func(m *nats.Msg) { got <- len(m.Data) }); err != nil {
		t.Fatal(err)
	}
	if err := nc.FlushTimeout(readyTimeout); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.Lock()
	const n = 8
	for range n {
		if err := b.Conn().PublishRaw("gw.demo.data.a.x", JSON, make([]byte, 32<<10)); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(3 * time.Second) // as long as a disk or CPU may stall
	s.Unlock()
	for range n {
		select {
		case <-got:
		case err := <-cut:
			if time.Since(began) > writeDeadline { // the machine stalled for longer than intended
				TestStandstill(t)
				return
			}
			t.Fatal("the connection was cut: ", err)
		case <-time.After(time.Minute):
			t.Fatal("not all has come")
		}
	}
}
