package srv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const service = "_mdi._tcp.example.com"

// server answers by UDP and TCP at one address; nil is silence.
type server func(network string, q dnsmessage.Message) *dnsmessage.Message

// listen starts a server on host; port 0 is any free one.
func listen(t *testing.T, host string, port int, s server) int {
	t.Helper()
	u, l, port := sockets(t, host, port)
	t.Cleanup(func() { u.Close(); l.Close() })
	go func() {
		for buf := make([]byte, 1500); ; {
			n, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := s.answer("udp", buf[:n]); answer != nil {
				_, _ = u.WriteTo(answer, from)
			}
		}
	}()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return port
}

// sockets opens one socket of each kind on a port. A free port is below the ephemeral ones.
func sockets(t *testing.T, host string, port int) (*net.UDPConn, net.Listener, int) {
	t.Helper()
	fixed := port != 0
	for range 100 {
		if !fixed {
			port = 20000 + rand.IntN(12000)
		}
		u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(host), Port: port})
		if err != nil {
			continue
		}
		if l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", host, port)); err == nil {
			return u, l, port
		}
		u.Close()
	}
	t.Fatalf("no port to listen on at %s", host)
	return nil, nil, 0
}

func (s server) serve(c net.Conn) {
	defer c.Close()
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return
	}
	msg := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(c, msg); err != nil {
		return
	}
	if answer := s.answer("tcp", msg); answer != nil {
		_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
	}
}

func (s server) answer(network string, msg []byte) []byte {
	var q dnsmessage.Message
	if q.Unpack(msg) != nil {
		return nil
	}
	m := s(network, q)
	if m == nil {
		return nil
	}
	answer, _ := m.Pack()
	return answer
}

// said returns an answer to q.
func said(q dnsmessage.Message, code dnsmessage.RCode, answers ...dnsmessage.Resource) *dnsmessage.Message {
	h := dnsmessage.Header{ID: q.ID, Response: true, RecursionAvailable: true, RCode: code}
	return &dnsmessage.Message{Header: h, Questions: q.Questions, Answers: answers}
}

// zone has the service on two hosts, one with an alias.
func zone(_ string, q dnsmessage.Message) *dnsmessage.Message {
	name := strings.TrimSuffix(q.Questions[0].Name.String(), ".")
	switch kind := q.Questions[0].Type; {
	case name == service && kind == dnsmessage.TypeSRV:
		return said(q, 0, target(name, "b.example.com.", 20, 5002), target(name, "a.example.com.", 10, 5001))
	case name == "a.example.com" && kind == dnsmessage.TypeA:
		return said(q, 0, dnsmessage.Resource{Header: owner("a.example.com."), Body: &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("c.example.com.")}})
	case (name == "b.example.com" || name == "c.example.com") && kind == dnsmessage.TypeA:
		return said(q, 0, dnsmessage.Resource{Header: owner(name + "."), Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, name[0]}}})
	case strings.HasSuffix(name, "."+service[strings.Index(service, "example"):]):
		return said(q, 0)
	}
	return said(q, dnsmessage.RCodeNameError)
}

func target(name, host string, priority, port uint16) dnsmessage.Resource {
	return dnsmessage.Resource{Header: owner(name + "."), Body: &dnsmessage.SRVResource{Priority: priority, Port: port, Target: dnsmessage.MustNewName(host)}}
}

// resolver uses the servers in a file of its own.
func resolver(t *testing.T, port int, lines ...string) Resolver {
	t.Helper()
	r := Resolver{File: filepath.Join(t.TempDir(), "resolv.conf"), Port: uint16(port)}
	write(t, r, lines...)
	return r
}

func write(t *testing.T, r Resolver, lines ...string) {
	t.Helper()
	if err := os.WriteFile(r.File, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// check looks up the service of zone.
func check(t *testing.T, r Resolver) {
	t.Helper()
	got, err := r.Lookup(within(t), service)
	want := "[{a.example.com 5001 10 0 [127.0.0.99]} {b.example.com 5002 20 0 [127.0.0.98]}]"
	if err != nil || fmt.Sprint(got) != want {
		t.Errorf("got %v, %v", got, err)
	}
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestLookup(t *testing.T) {
	check(t, resolver(t, listen(t, "127.0.0.1", 0, zone), "nameserver 127.0.0.1"))
}

func TestFileIsReadAtEveryCall(t *testing.T) {
	port := listen(t, "127.0.0.1", 0, zone)
	r := Resolver{File: filepath.Join(t.TempDir(), "resolv.conf"), Port: uint16(port)}
	for _, lines := range [][]string{nil, {"# no link yet"}, {"nameserver somewhere"}} {
		if lines != nil {
			write(t, r, lines...)
		}
		if _, err := r.Lookup(within(t), service); !errors.Is(err, ErrNoNameserver) {
			t.Errorf("%q: %v", lines, err)
		}
		if _, err := r.Host(within(t), "a.example.com"); !errors.Is(err, ErrNoNameserver) {
			t.Errorf("%q: %v", lines, err)
		}
	}
	write(t, r, "nameserver 127.0.0.1")
	check(t, r)
}

// A silent server, and one that is down, are waited for once per lookup.
func TestNextServer(t *testing.T) {
	port := listen(t, "127.0.0.1", 0, zone)
	var asked atomic.Int32
	listen(t, "127.0.0.2", port, func(string, dnsmessage.Message) *dnsmessage.Message { asked.Add(1); return nil })
	check(t, resolver(t, port, "nameserver 127.0.0.3", "nameserver 127.0.0.2", "nameserver 127.0.0.1", "options timeout:1"))
	if n := asked.Load(); n != 1 {
		t.Errorf("the silent server was asked %d times", n)
	}
}

func TestServersThatDoNotHelp(t *testing.T) {
	for _, c := range []struct {
		name string
		bad  server
		want string
	}{
		{"refuses", func(_ string, q dnsmessage.Message) *dnsmessage.Message { return said(q, dnsmessage.RCodeRefused) }, "REFUSED"},
		{"fails", func(_ string, q dnsmessage.Message) *dnsmessage.Message {
			return said(q, dnsmessage.RCodeServerFailure)
		}, "SERVFAIL"},
		{"lame", func(_ string, q dnsmessage.Message) *dnsmessage.Message {
			m := said(q, 0)
			m.RecursionAvailable = false
			return m
		}, "does not ask other servers"},
		{"guesses", func(n string, q dnsmessage.Message) *dnsmessage.Message {
			q.ID++
			return zone(n, q)
		}, "no answer within 1s"},
		{"answers to something else", func(n string, q dnsmessage.Message) *dnsmessage.Message {
			m := zone(n, q)
			m.Questions = []dnsmessage.Question{{Name: dnsmessage.MustNewName("x."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}
			return m
		}, "no answer within 1s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			port := listen(t, "127.0.0.1", 0, zone)
			listen(t, "127.0.0.2", port, c.bad)
			check(t, resolver(t, port, "nameserver 127.0.0.2", "nameserver 127.0.0.1", "options timeout:1"))
			_, err := resolver(t, port, "nameserver 127.0.0.2", "options timeout:1 attempts:1").Lookup(within(t), service)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "127.0.0.2") {
				t.Errorf("alone: %v", err)
			}
		})
	}
}

func TestTruncatedComesByTCP(t *testing.T) {
	port := listen(t, "127.0.0.1", 0, func(network string, q dnsmessage.Message) *dnsmessage.Message {
		if network == "udp" {
			m := said(q, 0)
			m.Truncated = true
			return m
		}
		return zone(network, q)
	})
	check(t, resolver(t, port, "nameserver 127.0.0.1"))
}

func TestServerWithoutEDNS(t *testing.T) {
	port := listen(t, "127.0.0.1", 0, func(network string, q dnsmessage.Message) *dnsmessage.Message {
		if len(q.Additionals) > 0 {
			return &dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, RCode: dnsmessage.RCodeFormatError}}
		}
		return zone(network, q)
	})
	check(t, resolver(t, port, "nameserver 127.0.0.1"))
}

func TestOnlyTCP(t *testing.T) {
	port := listen(t, "127.0.0.1", 0, func(network string, q dnsmessage.Message) *dnsmessage.Message {
		if network == "udp" {
			t.Error("asked by UDP")
		}
		return zone(network, q)
	})
	check(t, resolver(t, port, "nameserver 127.0.0.1", "options use-vc"))
}

func TestNoSuchService(t *testing.T) {
	port := listen(t, "127.0.0.1", 0, func(n string, q dnsmessage.Message) *dnsmessage.Message {
		switch q.Questions[0].Name.String() {
		case "_off._tcp.example.com.":
			return said(q, 0, target("_off._tcp.example.com", ".", 0, 0))
		case "_lost._tcp.example.com.":
			return said(q, 0, target("_lost._tcp.example.com", "nobody.elsewhere.", 0, 1))
		case "_round._tcp.example.com.":
			return said(q, 0, dnsmessage.Resource{Header: owner("_round._tcp.example.com."), Body: &dnsmessage.CNAMEResource{CNAME: q.Questions[0].Name}})
		}
		return zone(n, q)
	})
	r := resolver(t, port, "nameserver 127.0.0.1")
	for name, want := range map[string]string{
		"_x._tcp.elsewhere":       ErrNotFound.Error(),
		"_x._tcp.example.com":     ErrNotFound.Error(),
		"_off._tcp.example.com":   ErrNotOffered.Error(),
		"_lost._tcp.example.com":  "target nobody.elsewhere: no such record",
		"_round._tcp.example.com": "aliases",
		"a b.example.com":         "letters, digits",
		"a..example.com":          "1 to 63",
	} {
		if _, err := r.Lookup(within(t), name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDialGoesOn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.98:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	open := uint16(l.Addr().(*net.TCPAddr).Port)
	port := listen(t, "127.0.0.1", 0, func(n string, q dnsmessage.Message) *dnsmessage.Message {
		if q.Questions[0].Type == dnsmessage.TypeSRV {
			return said(q, 0, target(service, "a.example.com.", 1, open), target(service, "b.example.com.", 2, open))
		}
		return zone(n, q)
	})
	r := resolver(t, port, "nameserver 127.0.0.1")
	var d net.Dialer
	conn, at, err := r.Dial(within(t), service, d.DialContext)
	if err != nil || at.Host != "b.example.com" || at.Addrs[0] != netip.MustParseAddr("127.0.0.98") {
		t.Fatalf("%v %v", at, err)
	}
	conn.Close()
	l.Close()
	if _, _, err := r.Dial(within(t), service, d.DialContext); err == nil || !strings.Contains(err.Error(), "a.example.com: ") || !strings.Contains(err.Error(), "b.example.com: ") {
		t.Errorf("nobody listens: %v", err)
	}
}

// If many targets refuse connections, a few are named.
func TestManyThatTakeNoConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := uint16(l.Addr().(*net.TCPAddr).Port)
	l.Close()
	port := listen(t, "127.0.0.1", 0, func(n string, q dnsmessage.Message) *dnsmessage.Message {
		if q.Questions[0].Type != dnsmessage.TypeSRV {
			return zone(n, q)
		}
		var all []dnsmessage.Resource
		for i := range uint16(10) {
			all = append(all, target(service, "a.example.com.", i, closed))
		}
		return said(q, 0, all...)
	})
	var d net.Dialer
	_, _, err = resolver(t, port, "nameserver 127.0.0.1").Dial(within(t), service, d.DialContext)
	if err == nil || strings.Count(err.Error(), "a.example.com: ") != 3 || !strings.HasSuffix(err.Error(), "; and 7 more") {
		t.Errorf("%v", err)
	}
}

func TestCallerGivesUp(t *testing.T) {
	port := listen(t, "127.0.0.1", 0, func(string, dnsmessage.Message) *dnsmessage.Message { return nil })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := resolver(t, port, "nameserver 127.0.0.1").Lookup(ctx, service); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// However many targets there are, the one to be tried first is found, wherever it is in the answer.
func TestALongList(t *testing.T) {
	const n = 100
	port := listen(t, "127.0.0.1", 0, func(network string, q dnsmessage.Message) *dnsmessage.Message {
		if q.Questions[0].Type != dnsmessage.TypeSRV {
			return zone(network, q)
		}
		var all []dnsmessage.Resource
		for i := range uint16(n) {
			all = append(all, target(service, "b.example.com.", n-i, 5000+n-i))
		}
		return said(q, 0, all...)
	})
	got, err := resolver(t, port, "nameserver 127.0.0.1", "options use-vc").Lookup(within(t), service)
	if err != nil || len(got) != maxTargets || got[0].Port != 5001 {
		t.Errorf("%d, %v, %v", len(got), got, err)
	}
}
