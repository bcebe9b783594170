package web

import (
	"context"
	"net/http"
	"time"
)

// piece is how much a client has to read within Config.Stall, bytes.
const piece = 16 << 10

// paced is the way back to a client: whoever reads nothing of what is answered is cut off, lest it keep its place for ever.
type paced struct {
	http.ResponseWriter
	ctx   context.Context // ends when the client has gone or is cut off
	stall time.Duration
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
	return n, nil
}

// wait is said before each piece. Cut ends ctx first, and then the time to write.
func (p paced) wait() error {
	_ = http.NewResponseController(p.ResponseWriter).SetWriteDeadline(time.Now().Add(p.stall))
	return p.ctx.Err()
}

// Flush implements http.Flusher, which connect asks for.
func (p paced) Flush() { _ = p.FlushError() }

// FlushError is for http.ResponseController.
func (p paced) FlushError() error {
	if err := p.wait(); err != nil {
		return err
	}
	return http.NewResponseController(p.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController.
func (p paced) Unwrap() http.ResponseWriter { return p.ResponseWriter }
