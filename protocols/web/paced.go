package web

import (
	"context"
	"io"
	"net/http"
	"time"
)

// parting is the time for a client that is cut off to read what was under way and the end of it:
// without the end, TLS would report a damaged connection.
const parting = 300 * time.Millisecond

// piece is the number of bytes that a client must read within Config.Stall.
const piece = 16 << 10

// paced is a ResponseWriter that cuts off clients which do not read their answer, so that they do
// not occupy a slot for ever.
type paced struct {
	http.ResponseWriter
	ctx   context.Context // ends when the client has disconnected or is cut off
	stall time.Duration
	http2 bool
}

// Write implements http.ResponseWriter.
func (p paced) Write(b []byte) (n int, err error) {
	for first := true; first || n < len(b); first = false {
		if err := p.wait(); err != nil {
			return n, err
		}
		m, err := p.ResponseWriter.Write(b[n:min(len(b), n+piece)])
		if n += m; err != nil {
			return n, err
		}
	}
	p.rest()
	return n, nil
}

// wait sets the deadline before each piece. Cut ends ctx first and then sets its own deadline for
// parting, which this one may have replaced.
func (p paced) wait() error {
	way := http.NewResponseController(p.ResponseWriter)
	_ = way.SetWriteDeadline(time.Now().Add(p.stall))
	err := p.ctx.Err()
	if err != nil {
		_ = way.SetWriteDeadline(time.Now().Add(parting))
	}
	return err
}

// rest clears the deadline when nothing waits to be read: with HTTP/2, an expired deadline would
// end even an idle stream.
func (p paced) rest() {
	if p.http2 {
		_ = http.NewResponseController(p.ResponseWriter).SetWriteDeadline(time.Time{})
	}
}

// part sets the deadline at the end: the rest of an answer is sent after its handler has returned,
// and before that net/http may wait for the rest of the request.
func (p paced) part() {
	if p.wait() == nil {
		_ = http.NewResponseController(p.ResponseWriter).SetWriteDeadline(time.Now().Add(2 * p.stall))
	}
}

// Flush implements http.Flusher, which connect requires.
func (p paced) Flush() { _ = p.FlushError() }

// FlushError is used by http.ResponseController.
func (p paced) FlushError() error {
	if err := p.wait(); err != nil {
		return err
	}
	err := http.NewResponseController(p.ResponseWriter).Flush()
	p.rest()
	return err
}

// Unwrap is used by http.ResponseController.
func (p paced) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// pacedBody is a request body that cuts off clients which stop sending.
type pacedBody struct {
	io.ReadCloser
	way   *http.ResponseController
	stall time.Duration
	ended bool
}

// Read implements io.Reader. After the end of the body there is no deadline: net/http goes on
// reading to notice a disconnect, and would mistake an expired deadline for one.
func (b *pacedBody) Read(p []byte) (int, error) {
	if b.ended {
		return b.ReadCloser.Read(p)
	}
	_ = b.way.SetReadDeadline(time.Now().Add(b.stall))
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.ended = true
		_ = b.way.SetReadDeadline(time.Time{})
	}
	return n, err
}
