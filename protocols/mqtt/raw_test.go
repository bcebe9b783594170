package mqtt

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience only ends tests that hang.
const patience = time.Minute

// start runs a broker that admits every client and lets it write outside the owned topics, unless
// cfg says otherwise.
func start(t testing.TB, cfg Config) *Server {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if cfg.Authenticate == nil {
		cfg.Authenticate = AllowAnyone
	}
	if cfg.Authorize == nil {
		cfg.Authorize = func(ClientInfo, string, bool) bool { return true }
	}
	s, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t testing.TB, s *Server) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
}

// peer is a bare MQTT client that does what a test tells it, right or wrong.
type peer struct {
	net.Conn
	r   *bufio.Reader
	ver byte
	t   testing.TB
}

type hello struct {
	id, user, will string
	ver            byte // 0: 4
	keep           bool // the session is kept
	retain         bool // of the will
	alive          uint16
	props          []byte
	last           []byte // properties of the will
}

func text(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}

func size(n int) []byte {
	var out []byte
	for {
		b := byte(n & 0x7f)
		if n >>= 7; n > 0 {
			out = append(out, b|0x80)
			continue
		}
		return append(out, b)
	}
}

func frame(first byte, parts ...[]byte) []byte {
	var body []byte
	for _, p := range parts {
		body = append(body, p...)
	}
	return append(append([]byte{first}, size(len(body))...), body...)
}

func props(ver byte, p []byte) []byte {
	if ver < 5 {
		return nil
	}
	return append(size(len(p)), p...)
}

func dial(t testing.TB, s *Server) *peer {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &peer{Conn: c, r: bufio.NewReader(c), ver: 4, t: t}
}

func (h hello) bytes() []byte {
	var flags byte
	if !h.keep {
		flags |= 2
	}
	var tail []byte
	if h.will != "" {
		flags |= 4
		if h.retain {
			flags |= 0x20
		}
		tail = append(append(append(tail, props(h.ver, h.last)...), text(h.will)...), text("gone")...)
	}
	if h.user != "" {
		flags |= 0x80
		tail = append(tail, text(h.user)...)
	}
	return frame(0x10, text("MQTT"), []byte{h.ver, flags, byte(h.alive >> 8), byte(h.alive)}, props(h.ver, h.props), text(h.id), tail)
}

// connect sends CONNECT and returns the session flag and code of the CONNACK.
func (p *peer) connect(h hello) (present, code byte) {
	p.t.Helper()
	if h.ver == 0 {
		h.ver = 4
	}
	p.ver = h.ver
	p.send(h.bytes())
	typ, b := p.next()
	if typ != 0x20 || len(b) < 2 {
		p.t.Fatalf("connect %q: got packet %#x %x, want CONNACK", h.id, typ, b)
	}
	return b[0], b[1]
}

func join(t testing.TB, s *Server, h hello) *peer {
	t.Helper()
	p := dial(t, s)
	if _, code := p.connect(h); code != 0 {
		t.Fatalf("connect %q: refused with %#x", h.id, code)
	}
	return p
}

func (p *peer) send(b []byte) {
	p.t.Helper()
	_ = p.SetWriteDeadline(time.Now().Add(patience))
	if _, err := p.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// next reads one packet; type 0 means that the broker closed the connection.
func (p *peer) next() (byte, []byte) {
	p.t.Helper()
	_ = p.SetReadDeadline(time.Now().Add(patience))
	typ, err := p.r.ReadByte()
	if err != nil {
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			p.t.Fatalf("nothing came in %v", patience)
		}
		return 0, nil
	}
	n, shift := 0, 0
	for {
		b, err := p.r.ReadByte()
		if err != nil {
			return 0, nil
		}
		n |= int(b&0x7f) << shift
		if shift += 7; b&0x80 == 0 {
			break
		}
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(p.r, body); err != nil {
		return 0, nil
	}
	return typ, body
}

func (p *peer) want(typ byte) []byte {
	p.t.Helper()
	got, b := p.next()
	if got&0xf0 != typ&0xf0 {
		p.t.Fatalf("got packet %#x %x, want %#x", got, b, typ)
	}
	return b
}

func (p *peer) wantClosed() {
	p.t.Helper()
	for {
		typ, _ := p.next()
		if typ == 0 {
			return
		}
		if typ != 0xe0 {
			p.t.Fatalf("got packet %#x, want the end of the connection", typ)
		}
	}
}

func (p *peer) subscribe(filter string, qos byte) byte {
	p.t.Helper()
	p.send(frame(0x82, []byte{0, 77}, props(p.ver, nil), text(filter), []byte{qos}))
	b := p.want(0x90)
	return b[len(b)-1]
}

func (p *peer) publish(topic string, qos byte, id uint16, payload string, pr ...byte) {
	p.t.Helper()
	first := byte(0x30) | qos<<1
	var idb []byte
	if qos > 0 {
		idb = binary.BigEndian.AppendUint16(nil, id)
	}
	p.send(frame(first, text(topic), idb, props(p.ver, pr), []byte(payload)))
}

// message reads the next PUBLISH and parses it.
func (p *peer) message() (topic, payload string, id uint16) {
	p.t.Helper()
	typ, b := p.next()
	if typ>>4 != 3 {
		p.t.Fatalf("got packet %#x %x, want PUBLISH", typ, b)
	}
	n := int(binary.BigEndian.Uint16(b))
	topic, b = string(b[2:2+n]), b[2+n:]
	if typ&6 != 0 {
		id, b = binary.BigEndian.Uint16(b), b[2:]
	}
	if p.ver == 5 {
		n, used, _ := variableInt(b)
		b = b[used+n:]
	}
	return topic, string(b), id
}

func (p *peer) ack(id uint16) { p.send(frame(0x40, binary.BigEndian.AppendUint16(nil, id))) }

// sync returns once the broker has processed everything that was sent.
func (p *peer) sync() {
	p.t.Helper()
	p.send([]byte{0xc0, 0})
	p.want(0xd0)
}

func (s *Server) client(t testing.TB, id string) *mochi.Client {
	t.Helper()
	cl, ok := s.broker.Clients.Get(id)
	if !ok {
		t.Fatalf("no client %q", id)
	}
	return cl
}
