package web

import (
	"bytes"
	"errors"
	"net/http"
	"strings"

	"connectrpc.com/connect"

	"gatewayd/protocols/access"
)

// refused reports something that a client was refused.
func (s *Server) refused(reason, remote string, id *access.Identity, why error) {
	if s.cfg.Refused == nil {
		return
	}
	r := access.Refusal{Reason: reason, Remote: remote, Cause: why.Error()}
	if id != nil {
		r.Identity = id.Name
	}
	s.cfg.Refused(r)
}

// forbid answers a client that lacks the permission.
func (s *Server) forbid(w http.ResponseWriter, r *http.Request, id *access.Identity, why error) {
	s.refused(access.RefusedTopic, r.RemoteAddr, id, why)
	s.refuse(w, r, connect.NewError(connect.CodePermissionDenied, why))
}

// complaints receives the log of net/http about clients.
type complaints struct{ s *Server }

// Write implements io.Writer.
func (c complaints) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	c.s.cfg.Log.Debug(text)
	if rest, ok := strings.CutPrefix(text, "http: TLS handshake error from "); ok {
		remote, why, _ := strings.Cut(rest, ": ")
		if why != "EOF" { // a check whether the port is open
			c.s.refused(access.RefusedStranger, remote, nil, errors.New(why))
		}
	}
	return len(line), nil
}

// Write recognises the answers that net/http sends by itself, before any handler, to invalid
// requests.
func (g *guest) Write(p []byte) (int, error) {
	if head, _, ok := bytes.Cut(p[:min(len(p), 128)], []byte("\r\nConnection: close\r\n\r\n4")); ok && bytes.HasPrefix(head, []byte("HTTP/1.1 4")) {
		line, _, _ := bytes.Cut(head, []byte("\r\n"))
		g.server.refused(access.RefusedPacket, g.RemoteAddr().String(), nil, errors.New("answered with "+string(line[len("HTTP/1.1 "):])))
	}
	return g.Conn.Write(p)
}
