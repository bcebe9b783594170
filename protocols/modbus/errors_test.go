package modbus_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"gatewayd/protocols/modbus"
)

var writeOne = modbus.Request{Unit: 1, Function: modbus.WriteSingleRegister, Data: []byte{0, 1}, Timeout: 50 * time.Millisecond}

// NotSent is true of a write exactly if the device has seen nothing of it.
func TestNotSentIsCertain(t *testing.T) {
	ended, end := context.WithCancel(context.Background())
	end()
	for name, x := range map[string]struct {
		ctx    context.Context
		change func(r *modbus.Request)
		far    func(net.Conn) // what the far end does first
		want   bool
	}{
		"cannot be asked": {change: func(r *modbus.Request) { r.Data = nil }, want: true},
		"called off":      {ctx: ended, want: true},
		"closed before":   {far: func(c net.Conn) { _ = c.Close() }, want: true},
		"silent":          {},
	} {
		for _, f := range []modbus.Framing{modbus.TCP, modbus.RTUOverTCP} {
			t.Run(name+" "+f.String(), func(t *testing.T) {
				near, far := tcpPair(t)
				r, ctx := writeOne, context.Background()
				if x.change != nil {
					x.change(&r)
				}
				if x.ctx != nil {
					ctx = x.ctx
				}
				if x.far != nil {
					x.far(far)
					_ = near.SetReadDeadline(time.Now().Add(30 * time.Second))
					_, _ = near.Read(make([]byte, 1)) // until the end of the stream has arrived
				}
				l := modbus.NewLink(near, f, modbus.Options{})
				_, err := l.Do(ctx, r)
				if got := modbus.NotSent(err); err == nil || got != x.want {
					t.Errorf("%v of: %v", got, err)
				}
				_ = near.Close()
				seen, _ := io.ReadAll(far)
				if x.want && len(seen) > 0 {
					t.Errorf("the device has seen % x", seen)
				}
			})
		}
	}
}

// A link that was lost after a request was sent sends no other.
func TestALostLinkSendsNothing(t *testing.T) {
	near, far := tcpPair(t)
	go func() { _, _ = io.ReadFull(far, make([]byte, 12)); _ = far.Close() }()
	l := modbus.NewLink(near, modbus.TCP, modbus.Options{})
	r := writeOne
	r.Timeout = 10 * time.Second
	if _, err := l.Do(context.Background(), r); !modbus.LinkLost(err) || modbus.NotSent(err) {
		t.Errorf("closed after it was sent: %v", err)
	}
	if _, err := l.Do(context.Background(), r); !modbus.LinkLost(err) || !modbus.NotSent(err) {
		t.Errorf("the next one: %v", err)
	}
}

// A request that is held back because an answer is outstanding was not sent.
func TestAnOwedAnswerHoldsBackWhatIsNotSent(t *testing.T) {
	near, _ := tty(t)
	l := modbus.NewLink(near, modbus.RTU, modbus.Options{Late: time.Minute})
	r := writeOne
	for _, want := range []bool{false, true} {
		if _, err := l.Do(context.Background(), r); err == nil || modbus.NotSent(err) != want {
			t.Errorf("%v of: %v", !want, err)
		}
	}
}
