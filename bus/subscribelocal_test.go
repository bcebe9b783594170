package bus_test

import (
	"slices"
	"testing"
	"time"

	"gatewayd/bus"
	samplev1 "gatewayd/schemas/sample/v1"
)

func TestOverhearIsSubscribeWithoutTheServer(t *testing.T) {
	b := start(t, nil)
	for pattern, alone := range map[string]bool{
		"gw.demo.data.>": true, "gw.demo.event.a.*": true, "gw.demo.state.*.health": true,
		"gw.demo.cmd.>": false, "gw.demo.trace.>": false, "gw.demo.>": false, "gw.*.data.>": false, "gw.other.data.>": false, "gw.demo.data": false, ">": false,
	} {
		stop, ok := b.Conn().SubscribeLocal(pattern, func(bus.LocalMsg) {})
		if ok != alone {
			t.Errorf("%s: %t", pattern, ok)
		}
		if ok {
			stop()
		}
	}
	type said struct{ subject, typ, data string }
	var heard []said
	stop, _ := b.Conn().SubscribeLocal("gw.demo.*.>", nil)
	if stop != nil {
		t.Fatal("all classes are more than what only the gateway says")
	}
	stop, ok := b.Conn().SubscribeLocal("gw.demo.data.*.points", func(o bus.LocalMsg) {
		heard = append(heard, said{o.Subject, o.ContentType, string(o.Data)})
		o.Buffer().Done()
	})
	if !ok {
		t.Fatal("not heard")
	}
	got := make(chan said, 64)
	if _, err := b.Conn().Subscribe("gw.demo.data.*.points", func(m bus.Msg) { got <- said{m.Subject, m.ContentType, string(m.Data)} }); err != nil {
		t.Fatal(err)
	}
	say := func(i int) {
		for subject, err := range map[string]error{
			"samples": b.Conn().Publish("gw.demo.data.a.points", &samplev1.Samples{Sequence: uint64(i)}),
			"raw":     b.Conn().PublishRaw("gw.demo.data.b.points", "text/plain", []byte{byte('0' + i)}),
			"other":   b.Conn().PublishRaw("gw.demo.data.a.others", bus.JSON, []byte("1")),
			"class":   b.Conn().PublishRaw("gw.demo.state.a.points", bus.JSON, []byte("1")),
		} {
			if err != nil {
				t.Fatal(subject, err)
			}
		}
	}
	for i := 1; i <= 9; i++ {
		say(i)
	}
	var want []said
	for range 18 {
		want = append(want, receive(t, got))
	}
	if !slices.Equal(heard, want) {
		t.Errorf("heard\n%v\nthe server says\n%v", heard, want)
	}
	stop()
	stop()
	if say(1); len(heard) != 18 {
		t.Error("heard after the end")
	}
}

// Messages without subscribers are not sent to the server.
func TestSamplesNobodyAsksFor(t *testing.T) {
	b, keys := listening(t, nil)
	overheard := 0
	if _, ok := b.Conn().SubscribeLocal("gw.demo.data.>", func(o bus.LocalMsg) { overheard++; o.Buffer().Done() }); !ok {
		t.Fatal("not heard")
	}
	say := func() (out uint64) {
		before := b.Conn().Stats().Out
		if err := b.Conn().Publish("gw.demo.data.a.points", &samplev1.Samples{Sequence: 1}); err != nil {
			t.Fatal(err)
		}
		return b.Conn().Stats().Out - before
	}
	if out := say(); out != 0 || overheard != 1 {
		t.Errorf("%d were sent, %d overheard", out, overheard)
	}
	nc, _ := outside(t, b, keys, bus.Observer)
	sub, err := nc.SubscribeSync("gw.*.data.>")
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	if out := say(); out != 1 || overheard != 2 {
		t.Errorf("for an observer %d were sent, %d overheard", out, overheard)
	}
	if m, err := sub.NextMsg(patience); err != nil || string(m.Data) != `{"sequence":"1"}` {
		t.Errorf("%v, %v", m, err)
	}
	if err := sub.Unsubscribe(); err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	if out := say(); out != 0 || overheard != 3 {
		t.Errorf("after he has gone %d were sent, %d overheard", out, overheard)
	}
}

// While the server restarts, the subscribers are not known.
func TestSamplesWhileTheServerIsAnother(t *testing.T) {
	b, other := start(t, nil), start(t, nil)
	sent := func() bool {
		before := b.Conn().Stats().Out
		if err := b.Conn().Publish("gw.demo.data.a.points", &samplev1.Samples{Sequence: 1}); err != nil {
			t.Fatal(err)
		}
		return b.Conn().Stats().Out > before
	}
	for what, another := range map[string]*bus.Bus{"no server": nil, "one that has not heard yet what is asked for": other} {
		if sent() {
			t.Error("a message was sent that nobody hears")
		}
		back := b.Another(another)
		if !sent() {
			t.Errorf("with %s a message was thrown away", what)
		}
		back()
	}
	if err := b.Restart(within(t)); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); sent(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("what nobody hears is sent after a restart, on and on")
		}
	}
}

func TestOverheardWhileTheServerRestarts(t *testing.T) {
	b := start(t, nil)
	n := 0
	if _, ok := b.Conn().SubscribeLocal("gw.demo.event.>", func(bus.LocalMsg) { n++ }); !ok {
		t.Fatal("not heard")
	}
	if err := b.Restart(within(t)); err != nil {
		t.Fatal(err)
	}
	if err := b.Conn().PublishRaw("gw.demo.event.a.happened", bus.JSON, []byte("{}")); err != nil || n != 1 {
		t.Error(n, err)
	}
}

func TestLoanIsUsedAgainWhenAllAreDone(t *testing.T) {
	b := start(t, nil)
	var kept [][]byte
	var done []*bus.SharedBuffer
	for range 2 {
		if _, ok := b.Conn().SubscribeLocal("gw.demo.data.>", func(o bus.LocalMsg) { kept, done = append(kept, o.Data), append(done, o.Buffer()) }); !ok {
			t.Fatal("not heard")
		}
	}
	for i := range 8 { // the second listener keeps its messages, which must not change
		if err := b.Conn().Publish("gw.demo.data.a.points", &samplev1.Samples{Sequence: uint64(i + 1)}); err != nil {
			t.Fatal(err)
		}
		done[2*i].Done()
	}
	for i, data := range kept {
		if want := `{"sequence":"` + string(rune('1'+i/2)) + `"}`; string(data) != want {
			t.Errorf("%d: %s, want %s", i, data, want)
		}
	}
	again := false
	for i := 0; i < 1000 && !again; i++ { // the pool keeps some of what it is given
		kept, done = nil, nil
		if err := b.Conn().Publish("gw.demo.data.a.points", &samplev1.Samples{Sequence: 1}); err != nil {
			t.Fatal(err)
		}
		first := &kept[0][0]
		done[0].Done()
		done[1].Done()
		kept, done = nil, nil
		if err := b.Conn().Publish("gw.demo.data.a.points", &samplev1.Samples{Sequence: 2}); err != nil {
			t.Fatal(err)
		}
		again = &kept[0][0] == first
		done[0].Done()
		done[1].Done()
	}
	if !again {
		t.Error("a buffer that all have given back is not used again")
	}
	(*bus.SharedBuffer)(nil).Done()
}

func TestNobodyOverhearsFromOutside(t *testing.T) {
	b := start(t, func(c *bus.Config) { c.Listen, c.Anonymous = "127.0.0.1:0", bus.Observer })
	c, err := bus.Dial(bus.Options{URL: "nats://" + b.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, ok := c.SubscribeLocal("gw.demo.data.>", func(bus.LocalMsg) {}); ok {
		t.Error("a client hears the gateway only through the server")
	}
}
