package modbus_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/sim"
)

func isException(err error, code uint8) bool {
	var e *modbus.Exception
	return errors.As(err, &e) && e.Code == code
}

// scripted answers each request frame of a client with the result of play, piece by piece, until
// the test ends.
func scripted(t *testing.T, f modbus.Framing, play func(n int, q modbus.Query) [][]byte) (modbus.Conn, *atomic.Int64) {
	t.Helper()
	near, far := ends(t, f)
	heard, over := new(atomic.Int64), make(chan struct{})
	go func() {
		defer close(over)
		in := modbus.NewRequestReader(far, f)
		for {
			q, err := in.Next()
			if err != nil {
				return
			}
			for _, piece := range play(int(heard.Add(1)), q) {
				if piece == nil {
					_ = far.Close()
					return
				}
				if _, err := far.Write(piece); err != nil {
					return
				}
			}
		}
	}()
	t.Cleanup(func() { _ = far.Close(); <-over })
	return near, heard
}

// honest returns the meter's frame for a read of holding registers.
func honest(f modbus.Framing, q modbus.Query) []byte {
	var answer modbus.Response
	for i := range q.Quantity {
		answer.Data = append(answer.Data, byte((q.Address+i)>>8), byte(q.Address+i))
	}
	pdu, err := modbus.AppendResponse(nil, q.Request, answer)
	if err != nil {
		return nil
	}
	return modbus.AppendFrame(nil, f, q.Transaction, q.Unit, pdu)
}

// TestLateAnswerIsNeverAnothersAnswer: the answer arrives n timeouts late while other registers of
// the same shape are requested.
func TestLateAnswerIsNeverAnothersAnswer(t *testing.T) {
	const timeout = 40 * time.Millisecond
	for _, f := range framings {
		for _, late := range []time.Duration{timeout * 3 / 2, timeout * 5} {
			t.Run(f.String()+"/"+late.String(), func(t *testing.T) {
				t.Parallel()
				d := meter(7)
				near, far := ends(t, f)
				serve(t, sim.NewPlant(d), far, f)
				l := modbus.NewLink(near, f, modbus.Options{Timeout: timeout})
				warm := read(7, 0, 2)
				if _, err := l.Do(context.Background(), warm); err != nil {
					t.Fatal(err)
				}
				d.Behave(sim.Behaviour{Late: late})
				r := modbus.Request{Unit: 7, Function: modbus.ReadHoldingRegisters, Address: 150, Quantity: 2}
				_, err := l.Do(context.Background(), r)
				for i := 0; err == nil && i < 20; i++ { // the process was stalled until the answer had arrived
					_, err = l.Do(context.Background(), r)
				}
				if !errors.Is(err, modbus.ErrTimeout) || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("no answer within the timeout: %v", err)
				}
				d.Behave(sim.Behaviour{})
				if f == modbus.RTUOverTCP || f == modbus.ASCIIOverTCP {
					if !modbus.LinkLost(err) {
						t.Fatalf("the stream cannot be trusted any more, yet: %v", err)
					}
					return
				}
				served := 0
				for end := time.Now().Add(late * 2); time.Now().Before(end) || served == 0 && time.Now().Before(end.Add(time.Minute)); {
					r.Address = (r.Address + 2) % 150
					got, err := l.Do(context.Background(), r)
					switch {
					case err == nil:
						checkMeter(t, r, got)
						served++
					case !errors.Is(err, modbus.ErrTimeout) && !modbus.NotSent(err) || modbus.LinkLost(err): // while the late answer is arriving, nothing is sent
						t.Fatal(err)
					}
				}
				if served == 0 {
					t.Error("the unit was never served again")
				}
			})
		}
	}
}

// TestUnitsBesideALateOneAreServed: an outstanding answer of a unit does not delay its neighbour.
func TestUnitsBesideALateOneAreServed(t *testing.T) {
	slow, well := meter(7), meter(8)
	l := linked(t, sim.NewPlant(slow, well), modbus.RTU, modbus.Options{Timeout: 30 * time.Millisecond})
	slow.Behave(sim.Behaviour{Late: 75 * time.Millisecond})
	r := modbus.Request{Unit: 7, Function: modbus.ReadHoldingRegisters, Address: 3, Quantity: 2}
	_, err := l.Do(context.Background(), r)
	for err == nil { // the process was stalled until the answer had arrived
		_, err = l.Do(context.Background(), r)
	}
	if !errors.Is(err, modbus.ErrTimeout) {
		t.Fatal(err)
	}
	for i := range uint16(10) {
		r := read(8, i, 2)
		got, err := l.Do(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		checkMeter(t, r, got)
	}
}

func TestLies(t *testing.T) {
	for _, f := range framings {
		for lie, name := range map[sim.Lie]string{sim.WrongUnit: "unit", sim.WrongFunction: "function", sim.WrongLength: "length"} {
			for _, r := range []modbus.Request{
				{Unit: 7, Function: modbus.ReadHoldingRegisters, Quantity: 4},
				{Unit: 7, Function: modbus.WriteSingleRegister, Address: 5, Data: []byte{1, 2}},
			} {
				synctest.Test(t, func(t *testing.T) {
					d := meter(7)
					near, far := calm(t)
					serve(t, sim.NewPlant(d), far, f)
					d.Behave(sim.Behaviour{Lie: lie})
					_, err := modbus.NewLink(near, f, modbus.Options{}).Do(context.Background(), r)
					if !errors.Is(err, modbus.ErrMismatch) && !errors.Is(err, modbus.ErrCorrupt) {
						t.Errorf("%s, %s: %v: %v", f, name, r, err)
					}
					if misfit := errors.Is(err, modbus.ErrMisfit); misfit != (lie == sim.WrongLength) && (misfit || f == modbus.TCP) {
						t.Errorf("%s, %s: %v: %v", f, name, r, err)
					}
				})
			}
		}
	}
}

func TestAnswersInPieces(t *testing.T) {
	for _, f := range framings {
		t.Run(f.String(), func(t *testing.T) {
			d := meter(7)
			l := linked(t, sim.NewPlant(d), f, modbus.Options{})
			d.Behave(sim.Behaviour{Pieces: 1})
			for _, r := range []modbus.Request{read(7, 0, 40), read(7, 65000, 2), read(7, 9, 1)} {
				got, err := l.Do(context.Background(), r)
				switch {
				case r.Address == 65000:
					if !isException(err, modbus.IllegalAddress) {
						t.Errorf("exception in pieces: %v", err)
					}
				case err != nil:
					t.Fatal(err)
				default:
					checkMeter(t, r, got)
				}
			}
		})
	}
}

func TestPartialFrameThenSilence(t *testing.T) {
	for _, f := range framings {
		t.Run(f.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := meter(7)
				near, far := calm(t)
				serve(t, sim.NewPlant(d), far, f)
				l := modbus.NewLink(near, f, modbus.Options{Late: time.Millisecond})
				d.Behave(sim.Behaviour{Lie: sim.Truncated})
				r := read(7, 0, 10)
				r.Timeout = time.Second
				_, err := l.Do(context.Background(), r)
				if !errors.Is(err, modbus.ErrCorrupt) {
					t.Errorf("half an answer: %v", err)
				}
				line := f == modbus.RTU || f == modbus.ASCII
				if modbus.LinkLost(err) == line {
					t.Errorf("lost = %v: %v", modbus.LinkLost(err), err)
				}
				d.Behave(sim.Behaviour{})
				got, err := l.Do(context.Background(), read(7, 2, 3))
				if !line {
					if !modbus.LinkLost(err) {
						t.Errorf("a lost link was used again: %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				checkMeter(t, read(7, 2, 3), got)
			})
		})
	}
}

func TestNoiseGivesNoWrongValue(t *testing.T) {
	t.Parallel()
	d := meter(7)
	l := linked(t, sim.NewPlant(d), modbus.RTU, modbus.Options{Timeout: 20 * time.Millisecond, Late: 500 * time.Millisecond})
	d.Behave(sim.Behaviour{Noise: 0.002, Seed: 1})
	good, spoilt := 0, 0
	begin := time.Now()
	for i := uint16(0); i < 250 || (good < 20 || spoilt < 20) && time.Since(begin) < time.Minute; i++ {
		r := modbus.Request{Unit: 7, Function: modbus.ReadHoldingRegisters, Address: i % 100, Quantity: 10}
		got, err := l.Do(context.Background(), r)
		if err != nil {
			if modbus.LinkLost(err) {
				t.Fatal(err)
			}
			spoilt++
			continue
		}
		good++
		checkMeter(t, r, got)
	}
	if good < 20 || spoilt < 20 {
		t.Errorf("%d good and %d spoilt answers are no test", good, spoilt)
	}
}

func TestGlitchBeforeAndForeignFrameBeforeTheAnswer(t *testing.T) {
	foreign := modbus.AppendFrame(nil, modbus.RTU, 0, 9, []byte{3, 4, 1, 2, 3, 4})
	conn, _ := scripted(t, modbus.RTU, func(_ int, q modbus.Query) [][]byte {
		return [][]byte{{0, 0xff}, foreign, honest(modbus.RTU, q)}
	})
	l := modbus.NewLink(conn, modbus.RTU, modbus.Options{})
	got, err := l.Do(context.Background(), read(7, 30, 5))
	if err != nil {
		t.Fatal(err)
	}
	checkMeter(t, read(7, 30, 5), got)
}

func TestContextEndsDoAtOnce(t *testing.T) {
	for _, f := range framings {
		t.Run(f.String(), func(t *testing.T) {
			d := meter(7)
			l := linked(t, sim.NewPlant(d), f, modbus.Options{Timeout: time.Minute, Late: time.Millisecond})
			if _, err := l.Do(context.Background(), read(7, 0, 1)); err != nil {
				t.Fatal(err)
			}
			d.Behave(sim.Behaviour{Silent: true})
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
			defer cancel()
			r := read(7, 0, 1)
			r.Timeout = time.Minute
			began := time.Now()
			_, err := l.Do(ctx, r)
			if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, modbus.ErrTimeout) {
				t.Errorf("deadline: %v", err)
			}
			if modbus.LinkLost(err) {
				return
			}
			ctx, cancel = context.WithCancel(context.Background())
			time.AfterFunc(30*time.Millisecond, cancel)
			r.Function = modbus.ReadInputRegisters
			if _, err = l.Do(ctx, r); !errors.Is(err, context.Canceled) {
				t.Errorf("cancel: %v", err)
			}
			if d := time.Since(began); d > 30*time.Second {
				t.Errorf("both took %v of a minute", d)
			}
			if _, err = l.Do(ctx, r); !errors.Is(err, context.Canceled) {
				t.Errorf("context over before: %v", err)
			}
			d.Behave(sim.Behaviour{})
			if _, err := l.Do(context.Background(), read(7, 0, 1)); err != nil {
				t.Errorf("after two ends of a context: %v", err)
			}
		})
	}
}

func TestWriteIsSentOnce(t *testing.T) {
	for _, f := range framings {
		for name, b := range map[string]sim.Behaviour{"silent": {Silent: true}, "busy": {Exception: modbus.DeviceBusy}, "half": {Lie: sim.Truncated}, "hangup": {Hangup: true}} {
			t.Run(f.String()+"/"+name, func(t *testing.T) {
				d := meter(7)
				l := linked(t, sim.NewPlant(d), f, modbus.Options{Timeout: 40 * time.Millisecond})
				d.Behave(b)
				_, err := l.Do(context.Background(), modbus.Request{Unit: 7, Function: modbus.WriteSingleRegister, Address: 5, Data: []byte{1, 2}})
				if err == nil && name != "hangup" {
					t.Error("the write was confirmed")
				}
				for end := time.Now().Add(30 * time.Second); d.Counters().Requests == 0 && time.Now().Before(end); {
					<-time.After(time.Millisecond) // it may read the request after its asker has stopped waiting
				}
				if got := d.Counters().Requests; got != 1 {
					t.Errorf("the write arrived %d times: %v", got, err)
				}
			})
		}
	}
}

func TestBroadcast(t *testing.T) {
	for _, f := range framings {
		if f == modbus.TCP {
			continue // unit 0 is the device itself there
		}
		t.Run(f.String(), func(t *testing.T) {
			a, b := meter(7), meter(8)
			l := linked(t, sim.NewPlant(a, b), f, modbus.Options{Turnaround: 50 * time.Millisecond})
			_, err := l.Do(context.Background(), modbus.Request{Function: modbus.WriteSingleRegister, Address: 5, Data: []byte{1, 2}})
			if err != nil {
				t.Fatal(err)
			}
			for _, unit := range []uint8{7, 8} {
				got, err := l.Do(context.Background(), read(unit, 5, 1))
				if err != nil || got.Register(0) != 0x102 {
					t.Errorf("unit %d: %v %v", unit, got, err)
				}
			}
			if _, err := l.Do(context.Background(), read(0, 5, 1)); err == nil {
				t.Error("a broadcast read was sent")
			}
		})
	}
}

// TestStreamsThatCannotBeExplained: anything that breaks the sequence of MBAP frames costs the
// connection.
func TestStreamsThatCannotBeExplained(t *testing.T) {
	for name, answer := range map[string]func(q modbus.Query) [][]byte{
		"unknown transaction": func(q modbus.Query) [][]byte { q.Transaction += 9; return [][]byte{honest(modbus.TCP, q)} },
		"other protocol":      func(q modbus.Query) [][]byte { b := honest(modbus.TCP, q); b[3] = 1; return [][]byte{b} },
		"length too long":     func(q modbus.Query) [][]byte { b := honest(modbus.TCP, q); b[4] = 9; return [][]byte{b} },
		"length zero":         func(q modbus.Query) [][]byte { b := honest(modbus.TCP, q); b[5] = 0; return [][]byte{b} },
		"length a lie":        func(q modbus.Query) [][]byte { b := honest(modbus.TCP, q); b[5]--; return [][]byte{b} },
		"closed":              func(modbus.Query) [][]byte { return [][]byte{nil} },
		"closed in the frame": func(q modbus.Query) [][]byte { return [][]byte{honest(modbus.TCP, q)[:9], nil} },
	} {
		t.Run(name, func(t *testing.T) {
			conn, heard := scripted(t, modbus.TCP, func(_ int, q modbus.Query) [][]byte { return answer(q) })
			l := modbus.NewLink(conn, modbus.TCP, modbus.Options{})
			_, err := l.Do(context.Background(), read(7, 0, 2))
			if !modbus.LinkLost(err) {
				t.Errorf("%v", err)
			}
			_, err = l.Do(context.Background(), read(7, 0, 2))
			if !modbus.LinkLost(err) {
				t.Errorf("used again: %v", err)
			}
			_ = conn.Close()
			if n := heard.Load(); n > 1 {
				t.Errorf("%d requests on a lost link", n)
			}
		})
	}
}

// TestPeerThatClosedIsSeenBeforeAWrite: the write has then certainly not been carried out.
func TestPeerThatClosedIsSeenBeforeAWrite(t *testing.T) {
	near, far := tcpPair(t)
	l := modbus.NewLink(near, modbus.TCP, modbus.Options{})
	_ = far.Close()
	// Once read, the end of the stream has arrived and stays.
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	_, err := l.Do(context.Background(), modbus.Request{Unit: 7, Function: modbus.WriteSingleRegister, Data: []byte{1, 2}})
	if !modbus.LinkLost(err) || !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
}

// TestPeerThatReadsNothing: a write blocked by a full send buffer ends at the deadline and costs
// the link.
func TestPeerThatReadsNothing(t *testing.T) {
	near, _ := tcpPair(t)
	_ = near.(*net.TCPConn).SetWriteBuffer(4096)
	_ = near.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	for block := make([]byte, 1<<16); ; {
		if _, err := near.Write(block); err != nil {
			break
		}
	}
	l, r := modbus.NewLink(near, modbus.TCP, modbus.Options{}), read(7, 0, 2)
	r.Timeout = 50 * time.Millisecond
	if _, err := l.Do(context.Background(), r); !modbus.LinkLost(err) && !errors.Is(err, modbus.ErrTimeout) {
		t.Errorf("%v", err)
	}
}

func TestUnpluggedPort(t *testing.T) {
	near, far := tty(t)
	l := modbus.NewLink(near, modbus.RTU, modbus.Options{})
	_ = far.Close()
	if _, err := l.Do(context.Background(), read(7, 0, 2)); !modbus.LinkLost(err) {
		t.Errorf("%v", err)
	}
}
