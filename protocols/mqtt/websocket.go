package mqtt

import (
	"bufio"
	"crypto/sha1" // required by RFC 6455; it protects nothing
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	wsGUID      = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	wsMostHead  = 8 << 10 // bytes of an HTTP request
	wsBuffer    = 512     // bytes read ahead
	wsContinue  = 0x0
	wsBinary    = 0x2
	wsClose     = 0x8
	wsPing      = 0x9
	wsPong      = 0xa
	wsFinal     = 0x80
	wsMostWords = 125 // bytes of a control frame
)

// webSocket carries MQTT in the binary messages of a WebSocket (RFC 6455, MQTT 5 §6). The messages
// form a stream; their boundaries have no meaning. One goroutine may read while another writes.
type webSocket struct {
	net.Conn // below: the socket, or TLS
	origins  []string
	in       *bufio.Reader // nil until the first Read

	left   uint64 // bytes left of the frame
	mask   [4]byte
	at     int  // position in the mask
	inside bool // a message has begun and its last frame has not arrived
}

// Read implements io.Reader. The first call answers the HTTP request.
func (w *webSocket) Read(b []byte) (int, error) {
	if w.in == nil {
		head := &io.LimitedReader{R: w.Conn, N: wsMostHead}
		w.in = bufio.NewReaderSize(head, wsBuffer)
		if err := w.upgrade(); err != nil {
			return 0, err
		}
		head.N = math.MaxInt64
	}
	for w.left == 0 {
		if err := w.frame(); err != nil {
			return 0, err
		}
	}
	n, err := w.in.Read(b[:min(uint64(len(b)), w.left)])
	w.unmask(b[:n])
	w.left -= uint64(n)
	return n, err
}

func (w *webSocket) unmask(b []byte) {
	for i := range b {
		b[i] ^= w.mask[w.at&3]
		w.at++
	}
}

// frame reads the header of the next data frame, and answers control frames before it.
func (w *webSocket) frame() error {
	op, final, size, err := w.head()
	if err != nil {
		return err
	}
	if op >= wsClose {
		return w.control(op, final, size)
	}
	if (op == wsContinue) != w.inside || op != wsContinue && op != wsBinary {
		return fmt.Errorf("websocket: unexpected frame of type %d", op)
	}
	w.inside, w.left = !final, size
	return nil
}

// head reads the header of one frame (RFC 6455 §5.2).
func (w *webSocket) head() (op byte, final bool, size uint64, err error) {
	var h [8]byte
	if _, err = io.ReadFull(w.in, h[:2]); err != nil {
		return 0, false, 0, err
	}
	op, final, size = h[0]&0xf, h[0]&wsFinal != 0, uint64(h[1]&0x7f)
	if h[0]&0x70 != 0 || h[1]&0x80 == 0 {
		return 0, false, 0, errors.New("websocket: a frame with unknown flags or without a mask")
	}
	switch size {
	case 126:
		_, err = io.ReadFull(w.in, h[:2])
		size = uint64(binary.BigEndian.Uint16(h[:]))
	case 127:
		_, err = io.ReadFull(w.in, h[:8])
		size = binary.BigEndian.Uint64(h[:])
	}
	if err == nil && size>>63 != 0 {
		err = errors.New("websocket: a frame with an impossible length")
	}
	if err == nil {
		_, err = io.ReadFull(w.in, w.mask[:])
		w.at = 0
	}
	return op, final, size, err
}

func (w *webSocket) control(op byte, final bool, size uint64) error {
	if !final || size > wsMostWords {
		return errors.New("websocket: an invalid control frame")
	}
	words := make([]byte, size)
	if _, err := io.ReadFull(w.in, words); err != nil {
		return err
	}
	w.unmask(words)
	switch op {
	case wsPing:
		return w.send(wsPong, words)
	case wsPong:
		return nil
	case wsClose:
		_ = w.send(wsClose, words[:min(2, len(words))])
		return io.EOF
	}
	return fmt.Errorf("websocket: frame of unknown type %d", op)
}

// Write sends b as one message.
func (w *webSocket) Write(b []byte) (int, error) { return len(b), w.send(wsBinary, b) }

// send writes one frame in a single write, so that two never mix.
func (w *webSocket) send(op byte, b []byte) error {
	f := make([]byte, 0, len(b)+10)
	f = append(f, wsFinal|op)
	switch n := len(b); {
	case n < 126:
		f = append(f, byte(n))
	case n < 1<<16:
		f = binary.BigEndian.AppendUint16(append(f, 126), uint16(n))
	default:
		f = binary.BigEndian.AppendUint64(append(f, 127), uint64(n))
	}
	_, err := w.Conn.Write(append(f, b...))
	return err
}

// Close sends a close frame and closes the connection below.
func (w *webSocket) Close() error {
	_ = w.send(wsClose, []byte{1000 >> 8, 1000 & 0xff})
	return w.Conn.Close()
}

// upgrade answers the HTTP request that begins a WebSocket (RFC 6455 §4.2).
func (w *webSocket) upgrade() error {
	r, err := http.ReadRequest(w.in)
	if err != nil {
		return w.refuseUpgrade(http.StatusBadRequest, errors.New("not an HTTP request"))
	}
	key := r.Header.Get("Sec-WebSocket-Key")
	raw, err := base64.StdEncoding.DecodeString(key)
	switch {
	case r.Method != http.MethodGet || r.ContentLength > 0 || err != nil || len(raw) != 16 ||
		!hasToken(r.Header, "Connection", "upgrade") || !hasToken(r.Header, "Upgrade", "websocket"):
		return w.refuseUpgrade(http.StatusBadRequest, errors.New("not a WebSocket request"))
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		return w.refuseUpgrade(http.StatusUpgradeRequired, errors.New("version is not 13"))
	case !w.welcomes(r):
		return w.refuseUpgrade(http.StatusForbidden, fmt.Errorf("pages of %q are not allowed: add them to origins", r.Header.Get("Origin")))
	}
	protocol := ""
	for _, p := range []string{"mqtt", "mqttv3.1"} {
		if hasToken(r.Header, "Sec-WebSocket-Protocol", p) {
			protocol = p
			break
		}
	}
	if protocol == "" {
		return w.refuseUpgrade(http.StatusBadRequest, errors.New("the client does not offer the subprotocol mqtt"))
	}
	sum := sha1.Sum([]byte(key + wsGUID))
	_, err = fmt.Fprintf(w.Conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]), protocol)
	return err
}

func (w *webSocket) refuseUpgrade(code int, why error) error {
	_, _ = fmt.Fprintf(w.Conn, "HTTP/1.1 %d %s\r\nSec-WebSocket-Version: 13\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", code, http.StatusText(code))
	return fmt.Errorf("websocket: %w", why)
}

// welcomes reports whether a web page may connect: a page of the same host and port, or one of
// origins. Otherwise any web page that a user opens could connect. Programs send no Origin header.
func (w *webSocket) welcomes(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(w.origins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

func hasToken(h http.Header, key, token string) bool {
	for _, line := range h.Values(key) {
		for t := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}
