package web

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"

	"gatewayd/protocols/access"
)

const eventStream = "text/event-stream"

// beat is the interval of comments on a silent stream, which keep proxies from closing it.
const beat = 15 * time.Second

// ahead is how many messages a client may fall behind.
const ahead = 256

// events streams the messages under a filter. States begin with the stored ones, so that the client
// need not wait for a change.
func (s *Server) events(w http.ResponseWriter, r *http.Request, id *access.Identity, filter string) {
	if !s.may(id, filter) {
		s.forbid(w, r, id, fmt.Errorf("%s may not subscribe to %s", id.Name, filter))
		return
	}
	said := make(chan Message, ahead)
	err := s.cfg.Subscribe(r.Context(), filter, func(m Message) bool {
		select {
		case said <- m:
			return true
		default:
			close(said)
			return false
		}
	})
	if err != nil {
		s.refuse(w, r, connectError(err))
		return
	}
	out, pulse := &sse{w: w}, time.NewTicker(beat)
	defer pulse.Stop()
	if strings.HasPrefix(filter, "state/") {
		err := s.cfg.Last(r.Context(), filter, func(m Message) error {
			if len(m.Payload) == 0 || !s.may(id, m.Topic) {
				return nil
			}
			return out.send(m.Topic, m.ContentType, m.Payload)
		})
		switch {
		case err == nil:
		case out.begun:
			return
		default:
			s.refuse(w, r, connectError(err))
			return
		}
	}
	for err = out.comment(); err == nil; {
		select {
		case m, ok := <-said:
			if !ok {
				return
			}
			if s.may(id, m.Topic) {
				err = out.send(m.Topic, m.ContentType, m.Payload)
			}
		case <-pulse.C:
			err = out.comment()
		case <-r.Context().Done():
			return
		}
	}
}

// stream1 answers a call with Server-Sent Events: an event "answer" for each answer, then one "end"
// or "error".
func (s *Server) stream1(w http.ResponseWriter, r *http.Request, call Call) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(s.cfg.MaxBody)))
	if err != nil {
		plainError(w, connect.NewError(connect.CodeResourceExhausted, err))
		return
	}
	call.ContentType, call.Payload = "application/json", body
	out := &sse{w: w}
	err = s.cfg.Call(r.Context(), call, func(a Answer) error { return out.send("answer", "application/json", a.Payload) })
	switch {
	case r.Context().Err() != nil:
	case err == nil:
		_ = out.send("end", "application/json", []byte("{}"))
	case !out.begun:
		plainError(w, connectError(err))
	default:
		_ = out.send("error", "application/json", errorBody(connectError(err)))
	}
}

// sse writes Server-Sent Events (HTML Living Standard §9.2).
type sse struct {
	w     http.ResponseWriter
	begun bool
}

func (o *sse) begin() {
	if !o.begun {
		o.begun = true
		o.w.Header().Set("Content-Type", eventStream)
		o.w.Header().Set("Cache-Control", "no-store")
		o.w.WriteHeader(http.StatusOK)
	}
}

// send writes one event. Payloads other than JSON are sent as base64.
func (o *sse) send(name, typ string, payload []byte) error {
	if typ != "" && typ != "application/json" {
		payload, _ = json.Marshal(payload) // bytes always marshal
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "event: %s\n", name)
	for line := range bytes.Lines(payload) {
		fmt.Fprintf(&b, "data: %s\n", bytes.TrimRight(line, "\r\n"))
	}
	if len(payload) == 0 {
		b.WriteString("data:\n")
	}
	b.WriteByte('\n')
	return o.write(b.Bytes())
}

// comment keeps the stream alive.
func (o *sse) comment() error { return o.write([]byte(":\n\n")) }

func (o *sse) write(p []byte) error {
	o.begin()
	if _, err := o.w.Write(p); err != nil {
		return err
	}
	return http.NewResponseController(o.w).Flush()
}

// plainError sends an error to clients that use no protocol of connect: its JSON, and its status.
func plainError(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(statusOf(connect.CodeOf(err)))
	_, _ = w.Write(append(errorBody(err), '\n'))
}

func errorBody(err error) []byte {
	var e *connect.Error
	text, details := err.Error(), []Detail(nil)
	if errors.As(err, &e) {
		text = e.Message()
		for _, d := range e.Details() {
			one := Detail{Type: d.Type(), Value: base64.RawStdEncoding.EncodeToString(d.Bytes())}
			if m, err := d.Value(); err == nil {
				one.Debug, _ = protojson.Marshal(m)
			}
			details = append(details, one)
		}
	}
	p, _ := json.Marshal(struct { // texts always marshal
		Code    string   `json:"code"`
		Message string   `json:"message"`
		Details []Detail `json:"details,omitempty"`
	}{connect.CodeOf(err).String(), strings.TrimSpace(text), details})
	return p
}

// statusOf returns the HTTP status of a code, as defined by the Connect protocol.
func statusOf(c connect.Code) int {
	switch c {
	case connect.CodeCanceled:
		return 499
	case connect.CodeInvalidArgument, connect.CodeFailedPrecondition, connect.CodeOutOfRange:
		return http.StatusBadRequest
	case connect.CodeDeadlineExceeded:
		return http.StatusGatewayTimeout
	case connect.CodeNotFound:
		return http.StatusNotFound
	case connect.CodeAlreadyExists, connect.CodeAborted:
		return http.StatusConflict
	case connect.CodePermissionDenied:
		return http.StatusForbidden
	case connect.CodeResourceExhausted:
		return http.StatusTooManyRequests
	case connect.CodeUnimplemented:
		return http.StatusNotImplemented
	case connect.CodeUnavailable:
		return http.StatusServiceUnavailable
	case connect.CodeUnauthenticated:
		return http.StatusUnauthorized
	}
	return http.StatusInternalServerError
}
