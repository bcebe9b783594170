package web

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"gatewayd/protocols/access"
)

// message is an encoded message: the server does not decode it.
type message struct{ bytes []byte }

// passing is a codec that passes messages through undecoded. Messages of connect itself are
// protobuf.
type passing struct{ name string }

// Name implements connect.Codec.
func (c passing) Name() string { return c.name }

// Marshal implements connect.Codec.
func (c passing) Marshal(v any) ([]byte, error) {
	switch m := v.(type) {
	case *message:
		return m.bytes, nil
	case proto.Message:
		return proto.Marshal(m)
	}
	return nil, fmt.Errorf("%T cannot be encoded", v)
}

// Unmarshal implements connect.Codec.
func (c passing) Unmarshal(b []byte, v any) error {
	switch m := v.(type) {
	case *message:
		m.bytes = append([]byte(nil), b...)
		return nil
	case proto.Message:
		return proto.Unmarshal(b, m)
	}
	return fmt.Errorf("%T cannot be encoded", v)
}

// worthCompressing is the smallest answer in bytes that is compressed for clients that accept it.
// Shorter ones do not shrink, and compressing takes longer than everything else.
const worthCompressing = 1 << 10

// handlers makes the two handlers of calls: with one answer, or with several. In gRPC both look the
// same.
func (s *Server) handlers() {
	options := []connect.HandlerOption{
		connect.WithCodec(passing{"json"}), connect.WithCodec(passing{"json; charset=utf-8"}), connect.WithCodec(passing{"proto"}),
		connect.WithReadMaxBytes(s.cfg.MaxBody), connect.WithCompressMinBytes(worthCompressing),
	}
	s.unary = connect.NewUnaryHandler("", func(ctx context.Context, r *connect.Request[message]) (*connect.Response[message], error) {
		var answer *connect.Response[message]
		err := s.carry(ctx, r.Header(), r.Msg, func(a Answer) error {
			if a.Stream {
				return errStreams
			}
			answer = connect.NewResponse(&message{a.Payload})
			return nil
		})
		if err == nil && answer == nil {
			err = errStreams // which has ended without any
		}
		return answer, err
	}, options...)
	s.stream = connect.NewServerStreamHandler("", func(ctx context.Context, r *connect.Request[message], out *connect.ServerStream[message]) error {
		return s.carry(ctx, r.Header(), r.Msg, func(a Answer) error { return out.Send(&message{a.Payload}) })
	}, options...)
}

type callKey struct{}

// carry carries out a call.
func (s *Server) carry(ctx context.Context, h http.Header, m *message, each func(Answer) error) error {
	call, ok := ctx.Value(callKey{}).(Call)
	if !ok {
		return connect.NewError(connect.CodeInternal, errors.New("the request does not name a call"))
	}
	call.ContentType = "application/json"
	if typ := h.Get("Content-Type"); strings.Contains(typ, "proto") || typ == "application/grpc" || typ == "application/grpc-web" {
		call.ContentType = "application/protobuf"
	}
	call.Payload = m.bytes
	var lost error // error of sending an answer
	err := s.cfg.Call(ctx, call, func(a Answer) error {
		lost = each(a)
		return lost
	})
	if lost != nil {
		return lost
	}
	return connectError(err)
}

// connectError converts an error to one of connect.
func connectError(err error) error {
	var own *Error
	var already *connect.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &already):
		return err
	case !errors.As(err, &own):
		return connect.NewError(connect.CodeInternal, err)
	}
	var code connect.Code
	if code.UnmarshalText([]byte(own.Code)) != nil {
		code = connect.CodeInternal
	}
	e := connect.NewError(code, errors.New(own.Message))
	for _, d := range own.Details {
		value, err := base64.RawStdEncoding.DecodeString(d.Value)
		if err != nil {
			continue
		}
		if detail, err := connect.NewErrorDetail(&anypb.Any{TypeUrl: "type.googleapis.com/" + d.Type, Value: value}); err == nil {
			e.AddDetail(detail)
		}
	}
	return e
}

// refuse sends an error to a client in the client's protocol.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	paced{w, r.Context(), s.cfg.Stall, r.ProtoMajor > 1}.part()
	if writer := connect.NewErrorWriter(); writer.IsSupported(r) {
		_ = writer.Write(w, r, err)
		return
	}
	plainError(w, err)
}

var (
	errNoPlace = connect.NewError(connect.CodeNotFound, errors.New(
		"no such resource: call a method with POST /cmd/PATH/METHOD or POST /PATH/SERVICE/METHOD, subscribe with GET /data/FILTER, or event, state or trace"))
	errStreams = connect.NewError(connect.CodeUnimplemented, errors.New(
		"this method has several answers: send Accept: text/event-stream, or use application/connect+json or gRPC"))
)

// route dispatches a request by its path.
func (s *Server) route(w http.ResponseWriter, r *http.Request, id *access.Identity) {
	class, rest, _ := strings.Cut(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.Method == http.MethodGet && heard[class]:
		s.events(w, r, id, class+"/"+rest)
	case r.Method == http.MethodPost:
		s.command(w, r, id)
	default:
		s.refuse(w, r, errNoPlace)
	}
}

var heard = map[string]bool{"data": true, "event": true, "state": true, "trace": true}

// command handles a call.
func (s *Server) command(w http.ResponseWriter, r *http.Request, id *access.Identity) {
	call, ok := callOf(r.URL.Path)
	if !ok {
		s.refuse(w, r, errNoPlace)
		return
	}
	call.Identity, call.Remote, call.Traceparent = id, r.RemoteAddr, traceparent(r.Header.Get("Traceparent"))
	// So that a user can name the call when asking for support.
	w.Header().Set("Traceparent", call.Traceparent)
	if !s.may(id, call.Topic) {
		s.forbid(w, r, id, fmt.Errorf("%s may not use %s", id.Name, call.Topic))
		return
	}
	r = r.WithContext(context.WithValue(r.Context(), callKey{}, call))
	switch typ := r.Header.Get("Content-Type"); {
	case strings.Contains(r.Header.Get("Accept"), eventStream):
		s.stream1(w, r, call)
	case strings.HasPrefix(typ, "application/connect+"), strings.HasPrefix(typ, "application/grpc"):
		s.stream.ServeHTTP(w, r)
	case typ == "" || strings.HasPrefix(typ, "application/x-www-form-urlencoded"): // curl -d
		r.Header.Set("Content-Type", "application/json")
		fallthrough
	default:
		s.unary.ServeHTTP(w, r)
	}
}

// callOf parses the path of a call: /<path>/<service>/<Method> or /cmd/<path>/<Method>.
func callOf(path string) (call Call, ok bool) {
	path = strings.Trim(path, "/")
	if rest, ok := strings.CutPrefix(path, "cmd/"); ok {
		return Call{Topic: path}, strings.Contains(rest, "/")
	}
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return call, false
	}
	j := strings.LastIndexByte(path[:i], '/')
	if j < 0 || !strings.Contains(path[j+1:i], ".") {
		return call, false
	}
	return Call{Topic: "cmd/" + path[:j] + path[i:], Service: path[j+1 : i]}, true
}

// traceparent returns the client's trace, or a new one (W3C Trace Context §3.2).
func traceparent(given string) string {
	if f := strings.Split(given, "-"); len(f) == 4 && f[0] == "00" && hexadecimal(f[1], 32) && hexadecimal(f[2], 16) && hexadecimal(f[3], 2) {
		return given
	}
	var id [24]byte
	_, _ = rand.Read(id[:]) // never fails
	text := hex.EncodeToString(id[:])
	return "00-" + text[:32] + "-" + text[32:] + "-01"
}

func hexadecimal(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == ""
}

func bearer(header string) (token string, ok bool) {
	scheme, token, ok := strings.Cut(header, " ")
	return strings.TrimSpace(token), ok && strings.EqualFold(scheme, "Bearer")
}
