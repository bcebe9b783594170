package bus

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"strings"
)

// Caller is on whose behalf a message was sent.
type Caller struct {
	// Identity is who he has proven to be, user/<name>, or else the door he came
	// through and who he is there: nats/<role>, mqtt/<client id>, http/<address>,
	// cookie/<name>, master/<role or address>, actor/<path>, or local for the
	// gateway itself.
	Identity string
	Trace    string // 32 hexadecimal digits, as in W3C Trace Context
}

// Local is the identity of calls the gateway makes of its own accord.
const Local = "local"

const (
	headerCaller = "Gw-Caller"
	headerTrace  = "traceparent" // W3C Trace Context
	headerServer = "Nats-Request-Info"
)

// Header is how w travels with a call, see WithHeader.
func (w Caller) Header() Header {
	h := Header{headerCaller: {w.Identity}}
	if w.Trace != "" {
		h[headerTrace] = []string{"00-" + w.Trace + "-" + w.Trace[:16] + "-01"}
	}
	return h
}

// Caller is who sent m. A client on the listener is what the server says he is,
// whatever he says himself; only the gateway's own connection speaks for others.
func (m Msg) Caller() Caller {
	w := Caller{Identity: Local, Trace: traceOf(m.Header)}
	if told := m.Header[headerServer]; len(told) > 0 {
		var info struct {
			Account string `json:"acc"`
		}
		_ = json.Unmarshal([]byte(told[len(told)-1]), &info) // the server's word is the last
		w.Identity = "nats/" + info.Account
		if strings.HasPrefix(info.Account, accountUser) {
			w.Identity = info.Account
		}
	} else if said := first(m.Header, headerCaller); said != "" {
		w.Identity = said
	}
	return w
}

// NewTrace is a trace id that was never used before.
func NewTrace() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

func traceOf(h Header) string {
	return ParseTrace(first(h, headerTrace))
}

// ParseTrace is the trace id of a traceparent header (W3C Trace Context §3.2),
// empty if it is none.
func ParseTrace(parent string) string {
	f := strings.Split(parent, "-")
	if len(f) < 4 || len(f[1]) != 32 {
		return ""
	}
	if id, err := hex.DecodeString(f[1]); err != nil || strings.Trim(f[1], "0") == "" || len(id) != 16 {
		return ""
	}
	return strings.ToLower(f[1])
}
