package web

import (
	"context"
	"io"
	"net/http"
	"time"
)

// parting is what a client who is cut off has for reading what was under way and the end of it: without that end TLS would call the
// connection damaged.
const parting = 300 * time.Millisecond

// piece is how much a client has to read within Config.Stall, bytes.
const piece = 16 << 10

// paced is the way back to a client: whoever reads nothing of what is answered is cut off, lest it keep its place for ever.
type paced struct {
	http.ResponseWriter
	ctx   context.Context // ends when the client has gone or is cut off
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

// wait is said before each piece. Cut ends ctx first, and then leaves it time for parting, which may have been before.
func (p paced) wait() error {
	way := http.NewResponseController(p.ResponseWriter)
	_ = way.SetWriteDeadline(time.Now().Add(p.stall))
	err := p.ctx.Err()
	if err != nil {
		_ = way.SetWriteDeadline(time.Now().Add(parting))
	}
	return err
}

// rest is said when nothing waits for the client to read: HTTP/2 would end even a stream of which nothing is on its way when a deadline is over.
func (p paced) rest() {
	if p.http2 {
		_ = http.NewResponseController(p.ResponseWriter).SetWriteDeadline(time.Time{})
	}
}

// part is said at the end: the rest of an answer is sent after its handler, and before it net/http may wait for what is left of the request.
func (p paced) part() {
	if p.wait() == nil {
		_ = http.NewResponseController(p.ResponseWriter).SetWriteDeadline(time.Now().Add(2 * p.stall))
	}
}

// Flush implements http.Flusher, which connect asks for.
func (p paced) Flush() { _ = p.FlushError() }

// FlushError is for http.ResponseController.
func (p paced) FlushError() error {
	if err := p.wait(); err != nil {
		return err
	}
	err := http.NewResponseController(p.ResponseWriter).Flush()
	p.rest()
	return err
}

// Unwrap is for http.ResponseController.
func (p paced) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// pacedBody is what a client sends: whoever sends nothing of it is cut off as well.
type pacedBody struct {
	io.ReadCloser
	way   *http.ResponseController
	stall time.Duration
	ended bool
}

// Read implements io.Reader. From the end of the body on there is no deadline: net/http reads on, to know when the client goes, and would take
// a deadline for that.
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
