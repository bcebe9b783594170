package modbus_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatewayd/protocols/freeport"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/peer"
	"gatewayd/protocols/modbus/sim"
)

// queries reads the requests of a client until it disconnects.
func queries(t *testing.T, far net.Conn, each func(q modbus.Query)) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for r := modbus.NewRequestReader(far, modbus.TCP); ; {
			q, err := r.Next()
			if err != nil {
				return
			}
			each(q)
		}
	}()
	t.Cleanup(func() { _ = far.Close(); <-done })
}

// holds returns a frame with the registers' own addresses.
func holds(q modbus.Query) []byte {
	var got modbus.Response
	for i := range q.Quantity {
		got.Data = binary.BigEndian.AppendUint16(got.Data, q.Address+i)
	}
	pdu, _ := modbus.AppendResponse(nil, q.Request, got)
	return modbus.AppendFrame(nil, modbus.TCP, q.Transaction, q.Unit, pdu)
}

func TestAPipeCarriesEveryFunction(t *testing.T) {
	near, far := tcpPair(t)
	serve(t, sim.NewPlant(equipped(7)), far, modbus.TCP)
	p := modbus.NewPipe(near, modbus.Options{Timeout: 20 * time.Second})
	everyService(t, p, modbus.TCP)
	checkPipe(t, p)
}

func checkPipe(t *testing.T, p *modbus.Pipe) {
	t.Helper()
	var all sync.WaitGroup
	for i := range uint16(16) {
		all.Go(func() {
			for n := range uint16(50) {
				r := read(7, i+n, 1+n)
				got, err := p.Do(context.Background(), r)
				if err != nil {
					t.Error(err)
					return
				}
				checkMeter(t, r, got)
			}
		})
	}
	all.Wait()
}

func TestAPipeToRealServers(t *testing.T) {
	libmodbus, pymodbus := peer.Libmodbus(t, "testdata/server.c"), peer.Pymodbus(t, "testdata/server.py")
	for name, server := range map[string][]string{"libmodbus": libmodbus, "pymodbus": pymodbus} {
		t.Run(name, func(t *testing.T) {
			port := freeport.Port(t)
			peer.Start(t, append(server, "tcp", port)...)
			checkPipe(t, modbus.NewPipe(dialed(t, port), modbus.Options{Timeout: 20 * time.Second}))
		})
	}
}

// TestAnswersInAnyOrder: a server answers in any order, in pieces, late or never. Every caller that
// gets an answer gets the right one.
func TestAnswersInAnyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		dice := rand.New(rand.NewPCG(1, 2))
		var writing sync.Mutex
		var late sync.WaitGroup
		queries(t, far, func(q modbus.Query) {
			wait, frame := time.Duration(dice.IntN(30))*time.Millisecond, holds(q)
			switch dice.IntN(20) {
			case 0:
				return // never
			case 1:
				wait = 300 * time.Millisecond // after its timeout
			}
			cut := 1 + dice.IntN(len(frame)-1)
			late.Go(func() {
				<-time.After(wait)
				writing.Lock()
				defer writing.Unlock()
				_, _ = far.Write(frame[:cut])
				_, _ = far.Write(frame[cut:])
			})
		})
		p := modbus.NewPipe(near, modbus.Options{})
		var all sync.WaitGroup
		for i := range uint16(16) {
			all.Go(func() {
				for n := range uint16(40) {
					r := read(1, i*1000+n, 1+n%20)
					r.Timeout = 150 * time.Millisecond
					got, err := p.Do(context.Background(), r)
					if err == nil {
						checkMeter(t, r, got)
					} else if !errors.Is(err, modbus.ErrTimeout) || modbus.LinkLost(err) || modbus.NotSent(err) {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		_ = near.Close() // nobody reads what is still to come
		late.Wait()
	})
}

// Each transaction has its own deadline: one with a long timeout does not delay others.
func TestDeadlinesOfAPipe(t *testing.T) {
	near, far := tcpPair(t)
	queries(t, far, func(q modbus.Query) {
		if q.Unit == 1 {
			_, _ = far.Write(holds(q))
		}
	})
	p := modbus.NewPipe(near, modbus.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var silent sync.WaitGroup
	for range 3 {
		silent.Go(func() {
			r := read(2, 0, 1)
			r.Timeout = time.Minute
			if _, err := p.Do(ctx, r); !errors.Is(err, context.Canceled) || modbus.NotSent(err) || modbus.LinkLost(err) {
				t.Error(err)
			}
		})
	}
	for i := range uint16(100) {
		got, err := p.Do(context.Background(), read(1, i, 1))
		if err != nil {
			t.Fatal(err)
		}
		checkMeter(t, read(1, i, 1), got)
	}
	begin, r := time.Now(), read(2, 0, 1)
	r.Timeout = 50 * time.Millisecond
	// Half of the timeout of the others.
	if _, err := p.Do(context.Background(), r); !errors.Is(err, modbus.ErrTimeout) || time.Since(begin) > 30*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
	cancel()
	silent.Wait()
	if _, err := p.Do(context.Background(), read(1, 7, 1)); err != nil {
		t.Error(err)
	}
}

// An unexplained frame from the peer ends all transactions, and none is sent afterwards.
func TestWhatCostsAPipe(t *testing.T) {
	for name, answer := range map[string]func(q modbus.Query) []byte{
		"unknown id":    func(q modbus.Query) []byte { q.Transaction += 500; return holds(q) },
		"no protocol":   func(modbus.Query) []byte { return []byte{0, 0, 9, 9, 0, 3, 1, 0x83, 1} },
		"length":        func(modbus.Query) []byte { return []byte{0, 0, 0, 0, 4, 0} },
		"contradiction": func(q modbus.Query) []byte { f := holds(q); f[8]++; return f },
		"half a frame":  func(q modbus.Query) []byte { return holds(q)[:10] },
		"closed":        func(modbus.Query) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			near, far := tcpPair(t)
			under := make(chan struct{}, 1)
			queries(t, far, func(q modbus.Query) {
				if q.Address == 0 {
					under <- struct{}{}
					return
				}
				if b := answer(q); b != nil {
					_, _ = far.Write(b)
				} else {
					_ = far.Close()
				}
			})
			p := modbus.NewPipe(near, modbus.Options{})
			waits := make(chan error, 1)
			go func() {
				r := read(1, 0, 1)
				r.Timeout = time.Minute
				_, err := p.Do(context.Background(), r)
				waits <- err
			}()
			<-under
			r := read(1, 1, 1)
			r.Timeout = 2 * time.Second // how long half a frame waits
			_, err := p.Do(context.Background(), r)
			other := <-waits
			if !modbus.LinkLost(err) || modbus.NotSent(err) || !modbus.LinkLost(other) {
				t.Errorf("%v; %v", err, other)
			}
			if errors.Is(other, modbus.ErrMismatch) || errors.Is(other, modbus.ErrCorrupt) {
				t.Errorf("blamed for another one's answer: %v", other)
			}
			if _, err := p.Do(context.Background(), r); !modbus.LinkLost(err) || !modbus.NotSent(err) {
				t.Errorf("after the end: %v", err)
			}
		})
	}
}

// A wrong answer with the right id costs only its own transaction.
func TestAWrongAnswerInAPipe(t *testing.T) {
	near, far := tcpPair(t)
	queries(t, far, func(q modbus.Query) {
		if q.Address == 1 {
			q.Unit++
		}
		_, _ = far.Write(holds(q))
	})
	p := modbus.NewPipe(near, modbus.Options{})
	for i := range uint16(3) {
		_, err := p.Do(context.Background(), read(1, i, 1))
		if errors.Is(err, modbus.ErrMismatch) != (i == 1) || modbus.LinkLost(err) {
			t.Error(i, err)
		}
	}
}

// NotSent is true of a write exactly if the device has seen nothing of it.
func TestAPipeKnowsWhatIsNotSent(t *testing.T) {
	near, far := tcpPair(t)
	_ = far.Close()
	_, _ = near.Read(make([]byte, 1)) // until the end of the stream has arrived
	p := modbus.NewPipe(near, modbus.Options{})
	if _, err := p.Do(context.Background(), writeOne); !modbus.LinkLost(err) || !modbus.NotSent(err) {
		t.Errorf("closed before: %v", err)
	}
	near, far = tcpPair(t)
	ended, end := context.WithCancel(context.Background())
	end()
	p = modbus.NewPipe(near, modbus.Options{})
	if _, err := p.Do(ended, writeOne); !modbus.NotSent(err) {
		t.Errorf("called off: %v", err)
	}
	if _, err := p.Do(context.Background(), writeOne); !errors.Is(err, modbus.ErrTimeout) || modbus.NotSent(err) {
		t.Errorf("silent: %v", err)
	}
	_ = near.Close()
	if seen, _ := io.ReadAll(far); len(seen) != 12 {
		t.Errorf("the device has seen % x", seen)
	}
}

// A peer that reads nothing blocks no caller for longer than its timeout.
func TestAPipeThatIsStuck(t *testing.T) {
	near, _ := net.Pipe()
	defer near.Close()
	p := modbus.NewPipe(near, modbus.Options{})
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			if _, err := p.Do(context.Background(), writeOne); err == nil { // or hangs
				t.Error("it was answered")
			}
		})
	}
	all.Wait()
}

// A caller that gives up, or whose deadline passes, is not held up by what others still have to
// write to a peer that reads nothing.
func TestNobodyIsKeptByAStuckPipe(t *testing.T) {
	for name, pair := range map[string]func() (near, far net.Conn){
		"that can only wait": net.Pipe,
		"of TCP":             func() (net.Conn, net.Conn) { return tcpPair(t) },
	} {
		t.Run(name, func(t *testing.T) {
			near, far := pair()
			defer near.Close()
			defer far.Close()
			p := modbus.NewPipe(near, modbus.Options{})
			patient, giveUp := context.WithCancel(t.Context())
			long := modbus.Request{Unit: 1, Function: modbus.WriteMultipleRegisters, Quantity: 123, Data: make([]byte, 246), Timeout: time.Hour}
			if name == "of TCP" {
				_ = near.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
				for full := error(nil); full == nil; {
					_, full = near.Write(make([]byte, 1<<16))
				}
				_ = near.SetWriteDeadline(time.Time{})
			}
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() {
					for patient.Err() == nil {
						_, err := p.Do(patient, long)
						if err == nil {
							t.Error("a peer that reads nothing has answered")
						}
					}
				})
			}
			for range 5 {
				brief := writeOne
				brief.Timeout = 20 * time.Millisecond
				// Its own deadline, or that of the write if it came before all others.
				if _, err := p.Do(t.Context(), brief); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("got %v, want a timeout", err)
				}
			}
			giveUp()
			all.Wait() // not an hour
		})
	}
}
