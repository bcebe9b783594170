package bus

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"
)

// Caller is on whose behalf a message was sent.
type Caller struct {
	// Identity is who he has proven to be, user/<name>, or else the door he came
	// through and who he is there: nats/<role>, mqtt/<client id>, http/<address>,
	// cookie/<name>, master/<role or address>, actor/<path>, or local for the
	// gateway itself.
	Identity string
	Trace    string // 32 hexadecimal digits, as in W3C Trace Context
	Span     string // 16 hexadecimal digits: what of the trace asks; empty: unknown
	// Proof is as what his door has let him in, for whoever judges whether that still
	// holds: a pointer; nil: unknown. It stays in this process, see WithCaller.
	Proof any
}

// Local is the identity of calls the gateway makes of its own accord.
const Local = "local"

const (
	headerCaller = "Gw-Caller"
	headerTrace  = "traceparent" // W3C Trace Context
	headerServer = "Nats-Request-Info"
)

// Header is how w travels with a call, without his Proof, see WithHeader and WithCaller.
func (w Caller) Header() Header {
	h := Header{headerCaller: {w.Identity}}
	if w.Trace != "" {
		h[headerTrace] = []string{w.Traceparent()}
	}
	return h
}

// Traceparent is how w's trace travels (W3C Trace Context §3.2); empty without one.
func (w Caller) Traceparent() string {
	if w.Trace == "" {
		return ""
	}
	span := w.Span
	if span == "" {
		span = w.Trace[:16]
	}
	return "00-" + w.Trace + "-" + span + "-01"
}

// Begin is w with a span of its own, below the one it has; of a new trace if it
// has none. What the gateway does of its own accord is in nobody's trace.
func (w Caller) Begin() Caller {
	if w.Trace == "" && w.Identity == Local {
		return w
	}
	if w.Trace == "" {
		w.Trace = NewTrace()
	}
	w.Span = NewTrace()[:16]
	return w
}

// Caller is who sent m. A client on the listener is what the server says he is,
// whatever he says himself; only the gateway's own connection speaks for others.
func (m Msg) Caller() Caller {
	w := Caller{Identity: Local}
	w.Trace, w.Span = ParseParent(first(m.Header, headerTrace))
	if from, ok := senderOf(m.Header); ok {
		w.Identity = "nats/" + from.Account
		if strings.HasPrefix(from.Account, accountUser) {
			w.Identity = from.Account
			if m.conn != nil && m.conn.guest != nil {
				w.Proof = m.conn.guest(from)
			}
		}
	} else if said := first(m.Header, headerCaller); said != "" {
		w.Identity = said
		if id := first(m.Header, headerStream); id != "" && m.conn != nil {
			w.Proof, _ = m.conn.proofs.Load(id)
		}
	}
	return w
}

// sender is who has sent a message, by the server's word.
type sender struct {
	Account string    `json:"acc"`
	ID      uint64    `json:"id"`    // of his connection, if he is a guest
	Start   time.Time `json:"start"` // when it began
}

// senderOf is whose message it is that came through the listener; false if it did not.
func senderOf(h Header) (from sender, ok bool) {
	told := h[headerServer]
	if len(told) == 0 {
		return sender{}, false
	}
	_ = json.Unmarshal([]byte(told[len(told)-1]), &from) // the server's word is the last
	return from, true
}

// NewTrace is a trace id that was never used before.
func NewTrace() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// ParseParent is the trace id and the span id of a traceparent header (W3C Trace
// Context §3.2), both empty if it is none.
func ParseParent(parent string) (trace, span string) {
	if parent == "" {
		return "", ""
	}
	f := strings.Split(parent, "-")
	if len(f) < 4 || !isID(f[1], 16) || !isID(f[2], 8) {
		return "", ""
	}
	return strings.ToLower(f[1]), strings.ToLower(f[2])
}

func isID(s string, n int) bool {
	id, err := hex.DecodeString(s)
	return err == nil && len(id) == n && strings.Trim(s, "0") != ""
}
