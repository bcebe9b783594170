package modbus_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dial"
)

// udpPeer answers each datagram with the result of fn, until the test ends.
func udpPeer(t *testing.T, fn func(request []byte) [][]byte) string {
	t.Helper()
	far, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var b [512]byte
		for {
			n, from, err := far.ReadFrom(b[:])
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue // an ICMP refusal: the client has left the port
			}
			for _, answer := range fn(slices.Clone(b[:n])) {
				_, _ = far.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() { _ = far.Close(); <-done })
	return far.LocalAddr().String()
}

func overUDP(t *testing.T, address string, f modbus.Framing) *modbus.Link {
	t.Helper()
	conn, err := dial.UDP(context.Background(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return modbus.NewLink(conn, f, modbus.Options{Datagrams: true})
}

// answered returns the correct answer to a read of holding registers, which contain their address.
func answered(f modbus.Framing, request []byte) []byte {
	at, transaction := 0, uint16(0)
	if f == modbus.TCP {
		at, transaction = 6, uint16(request[0])<<8|uint16(request[1])
	}
	first, n := uint16(request[at+2])<<8|uint16(request[at+3]), request[at+5]
	pdu := []byte{3, 2 * n}
	for i := range uint16(n) {
		pdu = append(pdu, byte((first+i)>>8), byte(first+i))
	}
	return modbus.AppendFrame(nil, f, transaction, request[at], pdu)
}

// Answers get lost, duplicated, delayed, reordered and damaged: no wrong value is ever accepted,
// and the link keeps working.
func TestNoDatagramIsTakenForAnother(t *testing.T) {
	t.Parallel()
	polls := 1500
	if testing.Short() {
		polls = 400
	}
	for _, f := range []modbus.Framing{modbus.TCP, modbus.RTUOverTCP} {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			draw := rand.New(rand.NewPCG(1, uint64(f)))
			var kept [][]byte // answers not sent yet; with RTU they go to their original port, which is closed
			l := overUDP(t, udpPeer(t, func(request []byte) [][]byte {
				answer := answered(f, request)
				if f != modbus.TCP {
					kept = nil
				}
				kept = append(kept, answer)
				switch draw.IntN(8) {
				case 0: // late, before a later one
					return nil
				case 1: // lost
					kept = kept[:len(kept)-1]
					return nil
				case 2: // duplicated
					return [][]byte{answer, answer}
				case 3: // damaged, followed by the good one
					bad := slices.Clone(answer)
					bad[draw.IntN(len(bad))] ^= 1 << draw.IntN(8)
					// MBAP has no checksum: what UDP's checksum would not detect is cut instead.
					if f == modbus.TCP && len(bad) == len(answer) {
						bad = answer[:draw.IntN(len(answer))]
					}
					return [][]byte{{}, bad, answer}
				case 4: // two frames in one datagram
					return [][]byte{append(slices.Clone(answer), answer...)}
				}
				draw.Shuffle(len(kept), func(i, j int) { kept[i], kept[j] = kept[j], kept[i] })
				out := kept
				kept = nil
				return out
			}), f)
			good, asks := 0, rand.New(rand.NewPCG(2, uint64(f)))
			for n, end := 0, time.Now().Add(time.Minute); n < polls || good < polls/5 && time.Now().Before(end); n++ {
				r := read(7, uint16(asks.IntN(60)), 4)
				r.Timeout = 5 * time.Millisecond
				got, err := l.Do(context.Background(), r)
				if modbus.LinkLost(err) {
					t.Fatal(err)
				}
				if err == nil {
					good++
					checkMeter(t, r, got)
				}
			}
			if good < polls/5 {
				t.Errorf("%d were answered", good)
			}
		})
	}
}

// A duplicate of an answer that arrives while another request waits has the right unit, function
// and size.
func TestDoubledDatagramDoesNotAnswerTheNextRequest(t *testing.T) {
	var last []byte
	l := overUDP(t, udpPeer(t, func(request []byte) [][]byte {
		before := last
		last = answered(modbus.TCP, request)
		if before == nil {
			return [][]byte{last}
		}
		return [][]byte{before, last}
	}), modbus.TCP)
	for i := range uint16(50) {
		r := read(7, i, 2)
		got, err := l.Do(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		checkMeter(t, r, got)
	}
}

// With RTU the next request is sent from another port: what the peer still sends to the old one is
// never read.
func TestLateDoubleGoesNowhere(t *testing.T) {
	far, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	l := overUDP(t, far.LocalAddr().String(), modbus.RTUOverTCP)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var b [512]byte
		var old net.Addr
		var double []byte
		for range 50 {
			n, from, err := far.ReadFrom(b[:])
			for err != nil && !errors.Is(err, net.ErrClosed) {
				n, from, err = far.ReadFrom(b[:])
			}
			if old != nil {
				_, _ = far.WriteTo(double, old)
			}
			old, double = from, answered(modbus.RTUOverTCP, b[:n])
			_, _ = far.WriteTo(double, from)
		}
	}()
	for i := range uint16(50) {
		r := read(7, i, 2)
		got, err := l.Do(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		checkMeter(t, r, got)
	}
	<-done
}

func TestForeignSourceIsNotHeard(t *testing.T) {
	stranger, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	conn, err := dial.UDP(context.Background(), udpPeer(t, func([]byte) [][]byte { return nil }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	local, err := net.ResolveUDPAddr("udp", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	for id := range 65536 { // one of them has the right transaction id
		frame := modbus.AppendFrame(nil, modbus.TCP, uint16(id), 7, []byte{3, 2, 0, 1})
		_, _ = stranger.WriteTo(frame, local)
	}
	l := modbus.NewLink(conn, modbus.TCP, modbus.Options{Datagrams: true})
	r := read(7, 0, 1)
	r.Timeout = 30 * time.Millisecond
	if _, err := l.Do(context.Background(), r); !errors.Is(err, modbus.ErrTimeout) || errors.Is(err, modbus.ErrCorrupt) {
		t.Error(err)
	}
}

func TestNobodyAtThePortIsRefused(t *testing.T) {
	for _, f := range []modbus.Framing{modbus.TCP, modbus.RTUOverTCP} {
		far, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = far.Close()
		l := overUDP(t, far.LocalAddr().String(), f)
		_, err = l.Do(context.Background(), read(7, 0, 1)) // it would be a timeout if it were waited for
		if !modbus.LinkLost(err) || !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v", f, err)
		}
	}
}
