package mqtt

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const pahoWebSocket = `
import sys, paho.mqtt.client as mqtt
host, port, origin = sys.argv[1], int(sys.argv[2]), sys.argv[3]
c = mqtt.Client(client_id="web", transport="websockets")
c.ws_set_options(path="/mqtt", headers=lambda h: dict(h, **({"Origin": origin} if origin else {})))
def on_message(c, u, m):
    print(m.topic, len(m.payload)); c.disconnect()
c.on_connect = lambda c, *a: c.subscribe("back/#", 1)
c.on_subscribe = lambda c, *a: c.publish("back/1", b"x" * 100000, qos=2)
c.on_message = on_message
try:
    c.connect(host, port, 30)
    c.loop_forever(retry_first_connection=False)
except Exception as e:
    print("refused", e)
`

func TestWebSocketSpeaksToPaho(t *testing.T) {
	s := start(t, Config{Doors: []Door{{Listen: "127.0.0.1:0", WebSocket: true, Origins: []string{"https://panel.example"}}}})
	host, port, _ := net.SplitHostPort(s.Doors()[0].String())
	for origin, want := range map[string]string{
		"": "back/1 100000", "https://panel.example": "back/1 100000", "https://evil.example": "refused", "http://" + s.Doors()[0].String(): "back/1 100000",
	} {
		out := output(t, command(t, "/usr/bin/python3", "-c", pahoWebSocket, host, port, origin))
		if !strings.HasPrefix(out, want) {
			t.Errorf("page of %q: %q, want %q", origin, out, want)
		}
	}
}

// masked returns a frame as clients send it.
func masked(op byte, payload []byte) []byte {
	f := []byte{op}
	switch n := len(payload); {
	case n < 126:
		f = append(f, 0x80|byte(n))
	case n < 1<<16:
		f = binary.BigEndian.AppendUint16(append(f, 0x80|126), uint16(n))
	default:
		f = binary.BigEndian.AppendUint64(append(f, 0x80|127), uint64(n))
	}
	var key [4]byte
	_, _ = rand.Read(key[:])
	f = append(f, key[:]...)
	for i, b := range payload {
		f = append(f, b^key[i&3])
	}
	return f
}

const upgrade = "GET /mqtt HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqttv3.1, mqtt\r\n"

// web dials a WebSocket and returns it with the content of its frames.
func web(t testing.TB, s *Server) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", s.Doors()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := c.Write([]byte(upgrade + "\r\n")); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" ||
		resp.Header.Get("Sec-WebSocket-Protocol") != "mqtt" {
		t.Fatalf("%v", resp)
	}
	return c, r
}

// frameOf reads one frame of the broker.
func frameOf(t testing.TB, r io.Reader) (op byte, payload []byte) {
	t.Helper()
	h := make([]byte, 2)
	if _, err := io.ReadFull(r, h); err != nil {
		return 0, nil
	}
	payload = make([]byte, h[1])
	if _, err := io.ReadFull(r, payload); err != nil {
		t.Fatal(err)
	}
	return h[0], payload
}

// The boundaries of packets and frames are independent.
func TestWebSocketFramesAreAStream(t *testing.T) {
	s := start(t, Config{Doors: []Door{{Listen: "127.0.0.1:0", WebSocket: true}}})
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		c, r := web(t, s)
		defer c.Close()
		stream := append(hello{id: fmt.Sprint("w", n), ver: 4}.bytes(), 0xc0, 0, 0xc0, 0)
		op := byte(wsBinary)
		for len(stream) > 0 {
			k := min(rapid.IntRange(0, 20).Draw(rt, "bytes"), len(stream))
			f := op
			op = wsContinue
			if k == len(stream) || rapid.Bool().Draw(rt, "final") {
				f, op = f|wsFinal, wsBinary
			}
			_, _ = c.Write(masked(f, stream[:k]))
			stream = stream[k:]
			if rapid.Bool().Draw(rt, "ping") {
				_, _ = c.Write(masked(wsFinal|wsPing, []byte("hi")))
			}
		}
		var got []byte
		for len(got) < 8 {
			op, b := frameOf(t, r)
			switch op {
			case wsFinal | wsBinary:
				got = append(got, b...)
			case wsFinal | wsPong:
				if string(b) != "hi" {
					rt.Fatalf("pong %q", b)
				}
			default:
				rt.Fatalf("frame %#x %q", op, b)
			}
		}
		if !bytes.Equal(got, []byte{0x20, 2, 0, 0, 0xd0, 0, 0xd0, 0}) {
			rt.Fatalf("got % x", got)
		}
		_, _ = c.Write(masked(wsFinal|wsClose, []byte{3, 0xe8}))
		for op, _ := frameOf(t, r); op != wsFinal|wsClose; op, _ = frameOf(t, r) {
			if op == 0 {
				rt.Fatal("closed without a word")
			}
		}
	})
}

func TestWebSocketRefusesNonsense(t *testing.T) {
	s := start(t, Config{Doors: []Door{{Listen: "127.0.0.1:0", WebSocket: true}}})
	for name, head := range map[string]string{
		"no HTTP":        "\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00\r\n\r\n",
		"no upgrade":     "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
		"a post":         strings.Replace(upgrade, "GET", "POST", 1) + "\r\n",
		"no subprotocol": strings.Replace(upgrade, "mqttv3.1, mqtt", "chat", 1) + "\r\n",
		"old version":    strings.Replace(upgrade, "Version: 13", "Version: 8", 1) + "\r\n",
		"short key":      strings.Replace(upgrade, "dGhlIHNhbXBsZSBub25jZQ==", "YQ==", 1) + "\r\n",
		"foreign page":   upgrade + "Origin: https://evil.example\r\n\r\n",
		"endless head":   upgrade + "X: " + strings.Repeat("x", wsMostHead) + "\r\n\r\n",
	} {
		c, err := net.Dial("tcp", s.Doors()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte(head))
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil {
			if resp.Body.Close(); resp.StatusCode < 400 {
				t.Errorf("%s: %s", name, resp.Status)
			}
		}
		_ = c.Close()
	}
	for name, f := range map[string][]byte{
		"text":             masked(wsFinal|1, []byte("hello")),
		"no mask":          {wsFinal | wsBinary, 1, 'x'},
		"reserved bits":    masked(0xf2, []byte("x")),
		"lone continued":   masked(wsFinal|wsContinue, []byte("x")),
		"long control":     masked(wsFinal|wsPing, make([]byte, 200)),
		"unknown type":     masked(wsFinal|0xb, nil),
		"more than all":    {wsFinal | wsBinary, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0},
		"256 MB of a word": append(masked(wsFinal|wsBinary, []byte{0x10, 0xff, 0xff, 0xff, 0x7f}), make([]byte, 100)...),
	} {
		c, r := web(t, s)
		_, _ = c.Write(f)
		for op, _ := frameOf(t, r); op != 0; op, _ = frameOf(t, r) {
			if op == wsFinal|wsBinary {
				t.Errorf("%s: answered", name)
			}
		}
	}
	join(t, s, hello{id: "good"}).sync()
}

// All listeners serve the same broker.
func TestDoorsShareOneBroker(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	_ = left.Close() // like a process that was killed
	s := start(t, Config{MaxClients: 2, Doors: []Door{{Socket: path}, {Listen: "127.0.0.1:0"}}})
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o660 {
		t.Errorf("socket: %v %v", st, err)
	}
	unix := func() *peer {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return &peer{Conn: c, r: bufio.NewReader(c), ver: 4, t: t}
	}
	p := unix()
	p.connect(hello{id: "dev", keep: true})
	p.subscribe("x", 1)
	p.sync()
	tcp := join(t, s, hello{id: "tcp"})
	tcp.publish("x", 1, 1, "hello")
	tcp.want(0x40)
	if _, payload, _ := p.message(); payload != "hello" {
		t.Errorf("got %q", payload)
	}
	unix().wantClosed() // one limit for all
	_ = tcp.Close()
	again := &peer{ver: 4, t: t}
	for { // until the place is free
		c, err := net.Dial("tcp", s.Doors()[1].String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		again.Conn, again.r = c, bufio.NewReader(c)
		again.send(hello{id: "dev", ver: 4, keep: true}.bytes())
		if typ, b := again.next(); typ == 0x20 {
			if b[0] != 1 || b[1] != 0 {
				t.Errorf("connack %x, want the session of the other door", b)
			}
			break
		}
	}
	p.wantClosed()
	if _, err := Start(Config{Listen: "127.0.0.1:0", Authenticate: AllowAnyone, Doors: []Door{{Socket: path}}}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a socket that is in use: %v", err)
	}
}
