package web

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"gatewayd/protocols/access"
)

// visit is a request under way of an identity.
type visit struct {
	id  *access.Identity
	end context.CancelFunc
	way *http.ResponseController
}

// serve handles any request.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if r.Body != http.NoBody {
		way := http.NewResponseController(w)
		// net/http itself reads what is left of the body.
		_ = way.SetReadDeadline(time.Now().Add(s.cfg.Stall))
		r = r.WithContext(r.Context()) // net/http looks at its own
		r.Body = &pacedBody{ReadCloser: r.Body, way: way, stall: s.cfg.Stall}
	}
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	default:
		err := fmt.Errorf("too many requests: %d are in progress", cap(s.places))
		s.refused(access.RefusedCrowd, r.RemoteAddr, nil, err)
		s.refuse(w, r, connect.NewError(connect.CodeResourceExhausted, err))
		return
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	if subtle.ConstantTimeCompare([]byte(r.Header.Get(lookHeader)), []byte(s.looks)) == 1 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	id, err := s.enter(r)
	if err != nil {
		s.cfg.Log.Debug("http: credentials refused", "remote", r.RemoteAddr, "err", err)
		s.refused(access.RefusedCredentials, r.RemoteAddr, nil, err)
		code := connect.CodeUnauthenticated
		if errors.Is(err, access.ErrClosed) || errors.Is(err, access.ErrBusy) {
			code = connect.CodeUnavailable
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="gatewayd", charset="UTF-8"`)
		s.refuse(w, r, connect.NewError(code, errors.New("not authenticated: send a valid token, name and password, or client certificate")))
		return
	}
	r, leave := s.note(w, r, id)
	defer leave()
	answer := paced{w, r.Context(), s.cfg.Stall, r.ProtoMajor > 1}
	defer answer.part()
	w = answer
	if page, ok := s.cfg.Pages[r.URL.Path]; ok && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		if !s.may(id, "state"+r.URL.Path) {
			s.forbid(w, r, id, fmt.Errorf("%s may not read %s: a role must allow state%s", id.Name, r.URL.Path, r.URL.Path))
			return
		}
		page(w, r)
		return
	}
	s.route(w, r, id)
}

// note registers a request for Cut.
func (s *Server) note(w http.ResponseWriter, r *http.Request, id *access.Identity) (noted *http.Request, leave func()) {
	if id == nil {
		return r, func() {}
	}
	ctx, end := context.WithCancel(r.Context())
	v := &visit{id, end, http.NewResponseController(w)}
	s.mu.Lock()
	s.present[v] = struct{}{}
	s.mu.Unlock()
	return r.WithContext(ctx), func() {
		end()
		s.mu.Lock()
		delete(s.present, v)
		s.mu.Unlock()
	}
}

// Cut ends the requests of every identity for which match returns true, and returns their number.
func (s *Server) Cut(match func(*access.Identity) bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for v := range s.present {
		if match(v.id) {
			v.end()
			// It may be waiting for a client that does not read.
			_ = v.way.SetWriteDeadline(time.Now().Add(parting))
			n++
		}
	}
	return n
}

func (s *Server) may(id *access.Identity, topic string) bool {
	return id == nil || s.cfg.May(id, topic)
}

// enter returns the identity of a client.
func (s *Server) enter(r *http.Request) (*access.Identity, error) {
	if s.cfg.Authenticate == nil {
		return nil, nil
	}
	shown := access.Presented{Remote: r.RemoteAddr}
	if token, ok := bearer(r.Header.Get("Authorization")); ok {
		shown.Token = token
	} else if name, password, ok := r.BasicAuth(); ok {
		shown.Name, shown.Password = name, []byte(password)
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		shown.Certificate = r.TLS.PeerCertificates[0]
	}
	return s.cfg.Authenticate(shown)
}
