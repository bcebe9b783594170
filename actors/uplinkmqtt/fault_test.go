package uplinkmqtt_test

import (
	"context"
	"flag"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/uplinkmqtt"
	"gatewayd/protocols/freeport"
	"gatewayd/protocols/mqttclient/mosquitto"
	"gatewayd/protocols/pki"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// Faults of the link and of the far end. The account is kept by a client behind the broker: nothing that was stored is missing there or out of order,
// and once it drops what it has had nothing is there twice.

var flap = flag.Duration("flap", 3*time.Second, "how long the link goes and comes in TestFlapping; with a minute or more it does so every 2 s")

// gate is a link between uplink and broker that can be cut, and can fall silent without telling anybody.
type gate struct {
	to string
	l  net.Listener

	mu     sync.Mutex
	mode   string // "": it is there; "cut": nobody comes through; "mute": what comes goes nowhere
	conns  map[net.Conn]bool
	passed int
}

func newGate(t *testing.T, to string) *gate {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{to: to, l: l, conns: map[net.Conn]bool{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { g.serve(near) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		g.set("cut")
		all.Wait()
	})
	return g
}

func (g *gate) serve(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", g.to)
	if err != nil {
		return
	}
	defer far.Close()
	g.mu.Lock()
	if g.mode == "cut" {
		g.mu.Unlock()
		return
	}
	g.conns[near], g.conns[far] = true, true
	g.passed++
	g.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { g.copy(near, far) })
	both.Go(func() { g.copy(far, near) })
	both.Wait()
	g.mu.Lock()
	delete(g.conns, near)
	delete(g.conns, far)
	g.mu.Unlock()
}

// copy hands on what comes; a connection that was mute once stays so.
func (g *gate) copy(to, from net.Conn) {
	defer to.Close()
	for buf := make([]byte, 4096); ; {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		g.mu.Lock()
		mute := g.mode == "mute"
		g.mu.Unlock()
		if mute {
			_, _ = io.Copy(io.Discard, from)
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (g *gate) set(mode string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mode = mode; mode == "cut" {
		for c := range g.conns {
			_ = c.Close()
		}
	}
}

func (g *gate) connections() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.passed
}

// accounted waits until all records are behind the broker, and looks that they are in order.
func accounted(t *testing.T, r *actorstest.Rig, in *inbox, n uint64) {
	t.Helper()
	r.Until("all is there", func() bool { return len(in.sequences(t)) >= int(n) })
	if got := in.sequences(t); !slices.Equal(got, counted(n)) {
		t.Errorf("of %d there are %v", n, got)
	}
}

// A far end that is there and says nothing more, on a connection that nobody ends, is left for another one.
func TestHalfOpen(t *testing.T) {
	address := freeport.Address(t)
	mosquitto.Start(t, address, mosquitto.Anybody)
	r, in, g := actorstest.New(t), listen(t, address, "gatewayd/#"), newGate(t, address)
	cfg := config(g.l.Addr().String())
	cfg.Send.Timeout, cfg.Send.BatchRecords = durationpb.New(300*time.Millisecond), 20
	cell := r.Start(path, uplinkmqtt.Kind, cfg)
	n := uint64(0)
	for range 3 {
		write(t, r, n+1, 50)
		n += 50
		accounted(t, r, in, n)
		g.set("mute")
		write(t, r, n+1, 50)
		n += 50
		r.Until("it gives the connection up", func() bool { return cell.State() == actors.Unreachable })
		g.set("")
		accounted(t, r, in, n)
	}
	if cell.Life() != 1 || g.connections() < 4 {
		t.Errorf("life %d, %d connections", cell.Life(), g.connections())
	}
}

// A link that goes and comes all the time carries everything, whenever it was recorded.
func TestFlapping(t *testing.T) {
	address := freeport.Address(t)
	mosquitto.Start(t, address, mosquitto.Anybody)
	r, in, g := actorstest.New(t), listen(t, address, "gatewayd/#"), newGate(t, address)
	cfg := config(g.l.Addr().String())
	cfg.Send.BatchRecords = 50
	cell := r.Start(path, uplinkmqtt.Kind, cfg)
	every := 150 * time.Millisecond
	if *flap >= time.Minute {
		every = 2 * time.Second
		cfg.Send.Retry = durationpb.New(time.Second)
	}
	n := uint64(0)
	clock := time.NewTicker(every)
	defer clock.Stop()
	for began, cut := time.Now(), false; time.Since(began) < *flap; cut = !cut {
		g.set(map[bool]string{true: "cut"}[cut])
		write(t, r, n+1, 40)
		n += 40
		<-clock.C
	}
	g.set("")
	accounted(t, r, in, n)
	if cell.Life() != 1 || g.connections() < 3 {
		t.Errorf("life %d, %d connections", cell.Life(), g.connections())
	}
	t.Logf("%d records through %d connections", n, g.connections())
}

// A certificate that has expired keeps the uplink out, in words; the one that takes its place is used without a restart.
func TestExpiredCertificate(t *testing.T) {
	ca, err := pki.Create(filepath.Join(t.TempDir(), "pki"), "acme", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	issue := func(o pki.Order, at time.Time) {
		t.Helper()
		o.Lasts, o.Replace = time.Hour, true
		if _, err := ca.Issue(o, at); err != nil {
			t.Fatal(err)
		}
	}
	issue(pki.Order{Name: "broker", Hosts: []string{"127.0.0.1"}}, time.Now())
	issue(pki.Order{Name: "site"}, time.Now().Add(-24*time.Hour))
	address, inner := freeport.Address(t), freeport.Address(t)
	_, port, _ := net.SplitHostPort(address)
	mosquitto.Start(t, inner, mosquitto.Anybody,
		"listener "+port+" 127.0.0.1", "cafile "+ca.File("ca.crt"), "certfile "+ca.File("broker.crt"), "keyfile "+ca.File("broker.pem"), "require_certificate true",
	)
	r, in := actorstest.New(t), listen(t, inner, "gatewayd/#")
	cfg := config(address)
	cfg.Url = "ssl://" + address
	cfg.Tls = &uplinkv1.Tls{CaFile: ca.File("ca.crt"), CertFile: ca.File("site.crt"), KeyFile: ca.File("site.pem")}
	cell := r.Start(path, uplinkmqtt.Kind, cfg)
	write(t, r, 1, 100)
	r.Until("it says why", func() bool {
		return strings.Contains(status(t, r).Error, "certificate") && cell.State() == actors.Unreachable
	})
	if got := in.sequences(t); len(got) > 0 {
		t.Errorf("%v", got)
	}
	issue(pki.Order{Name: "site"}, time.Now())
	write(t, r, 101, 10)
	accounted(t, r, in, 110)
	if cell.Life() != 1 {
		t.Errorf("life %d", cell.Life())
	}
}

// A link of a few kilobytes a second, as CAT-M has it at the edge of its cell, gets small batches with what matters, in few digits, and all of that arrives.
func TestASlowLink(t *testing.T) {
	address := freeport.Address(t)
	mosquitto.Start(t, address, mosquitto.Anybody)
	r, in := actorstest.New(t), listen(t, address, "gatewayd/#")
	cfg := config(throttled(t, address, 8000))
	decimals := int32(0)
	cfg.Send.Slow, cfg.Send.Crawl, cfg.Send.Timeout = 50_000, 100, durationpb.New(30*time.Second)
	cfg.Send.Rules = []*uplinkv1.Rule{{Fields: []string{"power"}, SlowPrecision: &decimals}}
	cell := r.Start(path, uplinkmqtt.Kind, cfg)
	const n = 400
	write(t, r, 1, n)
	accounted(t, r, in, n)
	s := status(t, r)
	last := in.messages()[len(in.messages())-1]
	if !s.Slow || s.Crawls || s.Goodput > 50_000 || !strings.Contains(string(last.Payload), `"power":2}`) || cell.Life() != 1 {
		t.Errorf("life %d, goodput %.0f B/s, slow %v, %.200s", cell.Life(), s.Goodput, s.Slow, last.Payload)
	}
	if all := in.messages(); len(all) < 4 {
		t.Errorf("%d batches, the last of %d", len(all), strings.Count(string(last.Payload), `"sequence"`))
	}
}

// throttled is a link that carries so many bytes per second.
func throttled(t *testing.T, to string, perSecond int) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { cancel(); _ = l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			_ = near.(*net.TCPConn).SetReadBuffer(2048)
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			go func() { _, _ = io.Copy(near, far); _ = near.Close() }()
			go func() {
				defer far.Close()
				for buf := make([]byte, perSecond/20); ctx.Err() == nil; <-time.After(50 * time.Millisecond) {
					n, err := near.Read(buf)
					if err != nil {
						return
					}
					if _, err := far.Write(buf[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}
