package bus

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// The answer to a reset that tells of messages which were delivered behind it, to nobody, does not reach the hub: it would skip them.
func TestAResetIsDoneAgainUntilNothingIsDelivered(t *testing.T) {
	answer := func(delivered, stream int) *nats.Msg { // after a reset to 2
		return &nats.Msg{Data: fmt.Appendf(nil, `{"reset_seq":2,"delivered":{"consumer_seq":%d,"stream_seq":%d}}`, delivered, stream)}
	}
	for name, x := range map[string]struct {
		answers []*nats.Msg // the last one again and again
		asked   int
		fails   bool
	}{
		"nothing was delivered":         {[]*nats.Msg{answer(0, 1)}, 1, false},
		"six were, and then none":       {[]*nats.Msg{answer(6, 7), answer(1, 2), answer(0, 1)}, 3, false},
		"only others were passed over":  {[]*nats.Msg{answer(0, 7)}, 1, false},
		"always some":                   {[]*nats.Msg{answer(6, 7)}, resetTries, true},
		"the server refuses":            {[]*nats.Msg{{Data: []byte(`{"error":{"code":400,"err_code":10204}}`)}}, 1, false},
		"something that nobody expects": {[]*nats.Msg{{Data: []byte(`x`)}}, 1, false},
		"no answer":                     {nil, 1, true},
	} {
		asked := 0
		m, err := settledReset(func() (*nats.Msg, error) {
			asked++
			if len(x.answers) == 0 {
				return nil, errors.New("no answer")
			}
			return x.answers[min(asked, len(x.answers))-1], nil
		})
		if asked != x.asked || (err != nil) != x.fails || err == nil && m != x.answers[asked-1] {
			t.Errorf("%s: asked %d times, %v, %v", name, asked, m, err)
		}
	}
}

// A reset that takes longer than a moment, because the disk is slow, is answered as long as the hub
// waits.
func TestASlowResetIsAnswered(t *testing.T) {
	s, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.Shutdown()
	dial := func() *nats.Conn {
		nc, err := nats.Connect("", nats.InProcessServer(s))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	disk, hub := dial(), dial()
	if _, err := disk.Subscribe("$JS.API.CONSUMER.RESET.TRACKS.HUB_site", func(m *nats.Msg) {
		time.Sleep(2 * time.Second)
		_ = m.Respond([]byte(`{"reset_seq":1}`))
	}); err != nil {
		t.Fatal(err)
	}
	b := &Bus{cfg: Config{Gateway: "site", Leaf: &Leaf{Tracks: []string{"#"}}}, conn: &Conn{keep: dial()}, log: slog.New(slog.DiscardHandler)}
	if err := errors.Join(disk.Flush(), b.resets(), b.conn.keep.Flush()); err != nil {
		t.Fatal(err)
	}
	m, err := hub.Request(resetSubject("site"), nil, 5*time.Second)
	if err != nil || string(m.Data) != `{"reset_seq":1}` {
		t.Errorf("%v, %v", m, err)
	}
}
