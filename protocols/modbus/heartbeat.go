package modbus

import (
	"bytes"
	"slices"
	"time"
)

// WithoutHeartbeats returns a stream from which heartbeat packets, which are not Modbus, are
// removed. Modems send them between the answers of the devices behind them to show that they are
// alive. Bytes are taken for a heartbeat only before or after a whole frame. Closing the result
// closes conn.
func WithoutHeartbeats(conn Conn, f Framing, beats [][]byte) Conn {
	h := &heartbeatFilter{Conn: conn, framing: f}
	for _, b := range beats {
		if len(b) > 0 {
			h.beats = append(h.beats, b)
		}
	}
	// Longest first: one heartbeat may be a prefix of another.
	slices.SortFunc(h.beats, func(a, b []byte) int { return len(b) - len(a) })
	return h
}

type heartbeatFilter struct {
	Conn
	framing Framing
	beats   [][]byte
	buf     []byte    // received and not yet returned
	rest    int       // remaining bytes of a frame, which are returned unchanged
	open    bool      // a frame of unknown size is being returned
	last    time.Time // when bytes were last returned
}

const (
	enough       = 8   // bytes after which the size of an RTU answer is known, or known to be undeterminable
	longestASCII = 513 // Serial Line V1.02 §2.5.2.2
)

func (h *heartbeatFilter) Write(b []byte) (int, error) {
	h.open = false
	return h.Conn.Write(b)
}

func (h *heartbeatFilter) Read(b []byte) (int, error) {
	if h.open && time.Since(h.last) > gap {
		h.open = false
	}
	for {
		if n := h.ready(); n > 0 {
			n = copy(b, h.buf[:n])
			h.buf = slices.Delete(h.buf, 0, n)
			h.rest = max(0, h.rest-n)
			h.last = time.Now()
			return n, nil
		}
		var more [512]byte
		n, err := h.Conn.Read(more[:])
		if n == 0 {
			return 0, err
		}
		h.buf = append(h.buf, more[:n]...)
	}
}

// ready returns the number of bytes of buf that may be returned.
func (h *heartbeatFilter) ready() int {
	if h.rest == 0 && !h.open && !h.begin() {
		return 0
	}
	if h.open {
		return len(h.buf)
	}
	return min(h.rest, len(h.buf))
}

// begin removes heartbeats and determines the size of the frame that follows. It returns false if
// there is none yet.
func (h *heartbeatFilter) begin() bool {
	for {
		part := func(beat []byte) bool { return len(h.buf) < len(beat) && bytes.HasPrefix(beat, h.buf) }
		if len(h.buf) == 0 || slices.ContainsFunc(h.beats, part) {
			return false
		}
		i := slices.IndexFunc(h.beats, func(beat []byte) bool { return bytes.HasPrefix(h.buf, beat) })
		if i < 0 {
			break
		}
		h.buf = slices.Delete(h.buf, 0, len(h.beats[i]))
	}
	n, more := h.frame()
	h.rest, h.open = n, n == 0 && !more
	return !more
}

// frame returns the size of the frame at the start of buf. more is true if there are too few bytes
// to determine it; 0 without more means that the size cannot be determined.
func (h *heartbeatFilter) frame() (n int, more bool) {
	b := h.buf
	switch {
	case h.framing.ascii():
		n = bytes.IndexByte(b, '\n') + 1
		return n, n == 0 && b[0] == ':' && len(b) < longestASCII
	case h.framing == TCP && len(b) < 6:
		return 0, true
	case h.framing == TCP:
		return 6 + int(b[4])<<8 + int(b[5]), false
	}
	n = rtuAnswerSize(b)
	return n, n == 0 && len(b) < enough
}
