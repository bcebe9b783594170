package bus

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"
)

// Caller is the party on whose behalf a message was sent.
type Caller struct {
	// Identity is the proven identity, user/<name>. Otherwise it is the door the caller came
	// through and its name there: nats/<role>, mqtt/<client id>, http/<address>, cookie/<name>,
	// master/<role or address> or actor/<path>. Local stands for the gateway itself.
	Identity string
	Trace    string // trace id, 32 hexadecimal digits (W3C Trace Context)
	Span     string // span id of the caller within the trace, 16 hexadecimal digits; empty: unknown
	// Proof is the credential under which the door admitted the caller, for whoever decides whether
	// it is still valid: a pointer; nil: unknown. It never leaves this process; see WithCaller.
	Proof any
}

// Local is the identity of calls that the gateway makes of its own accord.
const Local = "local"

const (
	headerCaller = "Gw-Caller"
	headerTrace  = "traceparent" // W3C Trace Context
	headerServer = "Nats-Request-Info"
)

// Header returns the headers that carry w, except its Proof; see WithHeader and WithCaller.
func (w Caller) Header() Header {
	h := Header{headerCaller: {w.Identity}}
	if w.Trace != "" {
		h[headerTrace] = []string{w.Traceparent()}
	}
	return h
}

// Traceparent returns the traceparent header of w (W3C Trace Context §3.2), or "" if w has no
// trace.
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

// Begin returns w with a new span in its trace, or in a new trace if it has none. Calls that the
// gateway makes of its own accord have no trace.
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

// Caller returns the sender of m. For a client of the listener the server's word counts, whatever
// the message says; only the gateway's own connection may speak for others.
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

// sender is the sender of a message as the server reports it.
type sender struct {
	Account string    `json:"acc"`
	ID      uint64    `json:"id"`    // of the sender's connection, if it is a guest
	Start   time.Time `json:"start"` // when that connection began
}

// senderOf returns the sender of a message that came through the listener, and false for any other
// message.
func senderOf(h Header) (from sender, ok bool) {
	told := h[headerServer]
	if len(told) == 0 {
		return sender{}, false
	}
	_ = json.Unmarshal([]byte(told[len(told)-1]), &from) // the server appends its own value last
	return from, true
}

// NewTrace returns a new random trace id.
func NewTrace() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// ParseParent returns the trace id and the span id of a traceparent header (W3C Trace Context
// §3.2), both empty if the header is invalid.
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
