package replay_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/record"
	"gatewayd/protocols/modbus/replay"
)

// recorded returns the text of a recording of frames.
func recorded(t *testing.T, h record.Header, all ...record.Entry) string {
	t.Helper()
	var b strings.Builder
	w, err := record.NewWriter(&b, h)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if err := w.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// read returns the request for register 5 of unit 7, and a function for the answer that it contains
// v.
func read(f modbus.Framing, id uint16) (request []byte, answer func(v uint16) []byte) {
	request = modbus.AppendFrame(nil, f, id, 7, []byte{3, 0, 5, 0, 1})
	return request, func(v uint16) []byte {
		return modbus.AppendFrame(nil, f, id, 7, binary.BigEndian.AppendUint16([]byte{3, 2}, v))
	}
}

var ask = modbus.Request{Unit: 7, Function: modbus.ReadHoldingRegisters, Address: 5, Quantity: 1, Timeout: 500 * time.Millisecond}

// A request gets what it got at that time, in all framings: an answer with its delay, silence, or a
// corrupt frame.
func TestAnswersAsItWasThen(t *testing.T) {
	for _, f := range []modbus.Framing{modbus.RTU, modbus.ASCII, modbus.TCP} {
		t.Run(f.String(), func(t *testing.T) {
			first, one := read(f, 40)
			second, two := read(f, 41)
			third, three := read(f, 42)
			spoilt := three(3)
			spoilt[len(spoilt)-3] ^= 1
			text := recorded(t, record.Header{Framing: f},
				record.Entry{At: 0, Direction: modbus.Sent, Bytes: first}, record.Entry{At: 80 * time.Millisecond, Direction: modbus.Received, Bytes: one(1)},
				record.Entry{At: 10 * time.Second, Direction: modbus.Sent, Bytes: second}, record.Entry{At: 11 * time.Second, Mark: modbus.Silent},
				record.Entry{At: 20 * time.Second, Direction: modbus.Sent, Bytes: third}, record.Entry{At: 20*time.Second + 30*time.Millisecond, Direction: modbus.Received, Bytes: spoilt},
				record.Entry{At: 30 * time.Second, Direction: modbus.Sent, Bytes: second}, record.Entry{At: 30*time.Second + 10*time.Millisecond, Direction: modbus.Received, Bytes: two(2)})
			synctest.Test(t, func(t *testing.T) {
				l, err := replay.New(strings.NewReader(text), 1)
				if err != nil {
					t.Fatal(err)
				}
				conn, err := l.Dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				link := modbus.NewLink(conn, f, modbus.Options{Late: time.Second})
				begin := time.Now()
				got, err := link.Do(t.Context(), ask)
				if took := time.Since(begin); err != nil || got.Register(0) != 1 || took < 80*time.Millisecond || took > 200*time.Millisecond {
					t.Fatalf("%v, %v after %s", got, err, took)
				}
				time.Sleep(9 * time.Second)
				if got, err := link.Do(t.Context(), ask); !errors.Is(err, modbus.ErrTimeout) {
					t.Fatalf("%v, %v where there was silence", got, err)
				}
				if f != modbus.TCP { // which has no checksum to corrupt
					time.Sleep(10 * time.Second)
					if got, err := link.Do(t.Context(), ask); !errors.Is(err, modbus.ErrCorrupt) {
						t.Fatalf("%v, %v where the frame was spoilt", got, err)
					}
				}
				time.Sleep(time.Until(begin.Add(40 * time.Second)))
				if got, err := link.Do(t.Context(), ask); err != nil || got.Register(0) != 2 {
					t.Fatalf("%v, %v", got, err)
				}
				other := ask
				other.Address = 6
				if _, err := link.Do(t.Context(), other); !errors.Is(err, modbus.ErrTimeout) {
					t.Fatal(err)
				}
				if s := l.Strangers(); len(s) != 1 || s[0] != "unit 7: read holding registers 6+1" {
					t.Errorf("%q", s)
				}
			})
		})
	}
}

// While the recorded connection was lost, there is none: opening a port fails, connecting to a host
// waits.
func TestLostConnections(t *testing.T) {
	request, answer := read(modbus.TCP, 1)
	for transport, gone := range map[string]bool{"serial": true, "tcp": false} {
		text := recorded(t, record.Header{Framing: modbus.TCP, Transport: transport},
			record.Entry{At: 0, Direction: modbus.Sent, Bytes: request}, record.Entry{At: time.Second, Mark: modbus.Lost},
			record.Entry{At: 5 * time.Second, Mark: modbus.Opened},
			record.Entry{At: 6 * time.Second, Direction: modbus.Sent, Bytes: request},
			record.Entry{At: 6 * time.Second, Direction: modbus.Received, Bytes: answer(9)})
		synctest.Test(t, func(t *testing.T) {
			l, err := replay.New(strings.NewReader(text), 1)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := l.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(request); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Read(make([]byte, 10)); err != io.EOF || time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) < time.Second {
				t.Fatalf("%v", err)
			}
			_ = conn.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if _, err := l.Dial(ctx); err == nil || gone == errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", transport, err)
			}
			time.Sleep(5 * time.Second)
			if conn, err = l.Dial(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got, err := modbus.NewLink(conn, modbus.TCP, modbus.Options{}).Do(t.Context(), ask); err != nil || got.Register(0) != 9 {
				t.Errorf("%v, %v", got, err)
			}
			_ = conn.Close()
		})
	}
}

// Any recording can be used.
func FuzzLine(f *testing.F) {
	f.Add("modbus-record 1\nframing rtu\n0.0 > 07030000000ac46b\n0.1 < 0703 crc\n0.2 ! - lost\n9.9 ! - opened\n")
	f.Add("modbus-record 1\nframing tcp\n0.0 > 0001000000060703\n0.1 < 00\n")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := replay.New(strings.NewReader(text), math.MaxInt32)
		if err != nil {
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		conn, err := l.Dial(ctx)
		if err != nil {
			return
		}
		defer conn.Close()
		request, _ := read(l.Header().Framing, 1)
		if _, err := conn.Write(request); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now())
		_, _ = conn.Read(make([]byte, 300))
	})
}
