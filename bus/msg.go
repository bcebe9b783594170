package bus

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
)

// Header holds the headers of a message; keys are case-sensitive.
type Header = nats.Header

// Msg is one received message. Data belongs to the receiver.
type Msg struct {
	Subject     string
	Reply       string // where an answer goes; "" if none is wanted
	ContentType string // JSON, Protobuf or the sender's value
	Header      Header // nil if there are none
	Data        []byte

	conn  *Conn
	trace string // traceparent that answers carry; empty: none
}

// Traced returns m with answers that carry a traceparent (W3C Trace Context) if they go to a client
// of the listener. Callers inside this process know the trace of their calls already.
func (m Msg) Traced(parent string) Msg {
	if _, outside := m.Header[headerServer]; outside {
		m.trace = parent
	}
	return m
}

// traced adds the traceparent to the headers of an answer, which may be nil.
func (m Msg) traced(h Header) Header {
	if m.trace == "" {
		return h
	}
	if h == nil {
		h = Header{}
	}
	h[headerTrace] = []string{m.trace}
	return h
}

const headerDeadline = "Gw-Deadline"

// Decode unmarshals the message into into. Its errors are *Error with InvalidArgument.
func (m Msg) Decode(into proto.Message) error { return Unmarshal(m.ContentType, m.Data, into) }

// Timeout returns how long the caller is willing to wait, counted from the sending, and false if
// the caller did not say.
func (m Msg) Timeout() (time.Duration, bool) {
	ms, err := strconv.ParseInt(first(m.Header, headerDeadline), 10, 32)
	if err != nil || ms <= 0 {
		return 0, false
	}
	return time.Duration(ms) * time.Millisecond, true
}

// Respond answers with v in the content type of the request.
func (m Msg) Respond(v proto.Message) error {
	typ, p, err := Answer(m.ContentType, v)
	if err != nil {
		return m.Fail(err)
	}
	return m.RespondRaw(typ, p)
}

// RespondRaw answers with payload unchanged.
func (m Msg) RespondRaw(typ string, payload []byte) error {
	if err := m.answerable(); err != nil {
		return err
	}
	m.conn.streams.remove(m)
	return m.conn.PublishHeader(m.Reply, typ, m.traced(nil), payload)
}

// Fail answers with err, converted by AsError.
func (m Msg) Fail(err error) error {
	if e := m.answerable(); e != nil {
		return e
	}
	m.conn.streams.remove(m)
	failure := AsError(err).failure(m.Reply)
	failure.Header = m.traced(failure.Header)
	if err := m.conn.nc.PublishMsg(failure); err != nil {
		return fmt.Errorf("answer %s: %w", m.Subject, err)
	}
	return nil
}

// answerable refuses reply subjects that are not an inbox: the sender of a request must not be able
// to make this connection, which has full rights, publish anywhere else.
func (m Msg) answerable() error {
	switch {
	case m.Reply == "" || m.conn == nil:
		return Errorf(FailedPrecondition, "%s: the sender does not expect an answer", m.Subject)
	case !inbox(m.Reply):
		return Errorf(PermissionDenied, "%s: reply subject %q is not an inbox", m.Subject, m.Reply)
	}
	return nil
}

// Prefixes of reply subjects. A client that may subscribe to a prefix sees every answer sent there.
const (
	inboxAny     = "_INBOX" // every client's default, in its own account
	inboxGateway = "_GW"    // this process
	inboxAccount = "_R_"    // the server's stand-in for an inbox in another account
)

func inbox(reply string) bool {
	p, _, ok := strings.Cut(reply, ".")
	return ok && (p == inboxAny || p == inboxGateway || p == inboxAccount) && !strings.ContainsAny(reply, "*>")
}
