package modbus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Query is a request as received by a server.
type Query struct {
	Request
	Transaction uint16 // TCP: must be returned in the answer
	// Refused is nil, or why the PDU is not a valid request. It is the answer to give unless the
	// query was a broadcast.
	Refused *Exception
	// PDU is the request as received, from the function code on. It is valid until the next call of
	// Next.
	PDU []byte
}

// ErrGarbage: a stream carries bytes that are not Modbus in its framing, and the start of the next
// request cannot be determined.
var ErrGarbage = errors.New("not Modbus")

// RequestReader extracts the requests from the bytes a client sends. It is used by one goroutine.
type RequestReader struct {
	// Flawed, if not nil, is called with bytes that belong to no request and with what they may
	// have been. It must not keep the bytes.
	Flawed func(m Mark, b []byte)

	r       io.Reader
	framing Framing
	buf     [1040]byte
	n       int
	done    int // leading bytes that belong to the request returned last
	size    int // size of the frame of that request, which ends there
	skipped uint64
	heard   time.Time
}

// NewRequestReader returns a RequestReader that reads from r. On a line (RTU, ASCII) r also
// delivers noise and the answers of other units: bytes that are not a request are skipped, and an
// incomplete request is dropped if more arrives only after a pause, as the specification requires
// (§2.5.1.1).
func NewRequestReader(r io.Reader, f Framing) *RequestReader {
	return &RequestReader{r: r, framing: f}
}

// Next waits for the next request. Its error is that of r or ErrGarbage, which ends the stream.
func (s *RequestReader) Next() (Query, error) {
	for {
		s.consume()
		unit, pdu, size, err := s.split()
		if err != nil {
			s.flawed(s.buf[:s.n])
			return Query{}, err
		}
		if pdu != nil {
			return s.query(unit, pdu, size), nil
		}
		s.done = size
		s.consume()
		if err := s.fill(); err != nil {
			return Query{}, err
		}
	}
}

// Pending reports whether Next will return without reading from the connection. It invalidates the
// query that Next returned last.
func (s *RequestReader) Pending() bool {
	s.consume()
	_, pdu, size, err := s.split()
	if pdu == nil {
		s.done = size
	}
	return pdu != nil || err != nil
}

// Frame returns the frame of the request that Next returned last, as received. It is valid until
// the next call of Next.
func (s *RequestReader) Frame() []byte { return s.buf[s.done-s.size : s.done] }

// Skipped returns the number of bytes that belonged to no request.
func (s *RequestReader) Skipped() uint64 { return s.skipped }

func (s *RequestReader) skip(b []byte) {
	s.skipped += uint64(len(b))
	s.flawed(b)
}

func (s *RequestReader) flawed(b []byte) {
	if s.Flawed == nil || len(b) == 0 {
		return
	}
	m := Noise
	switch n, _ := rtuRequestSize(b); {
	case s.framing.ascii():
		if b[0] == ':' && bytes.HasSuffix(b, []byte("\r\n")) {
			m = BadChecksum
		}
	case s.framing == TCP:
	case n == len(b):
		m = BadChecksum
	case n > len(b):
		m = Short
	}
	s.Flawed(m, b)
}

func (s *RequestReader) consume() {
	if s.done > 0 {
		s.n = copy(s.buf[:], s.buf[s.done:s.n])
		s.done = 0
	}
}

func (s *RequestReader) fill() error {
	if s.n == len(s.buf) {
		s.skip(s.buf[:s.n])
		s.n = 0 // noise: no frame is that long
	}
	n, err := s.r.Read(s.buf[s.n:])
	if n > 0 && s.framing.serial() {
		now := time.Now()
		limit := gap
		if s.framing.ascii() {
			limit = time.Second // §2.5.2.1
		}
		if s.n > 0 && now.Sub(s.heard) > limit {
			s.skip(s.buf[:s.n])
			copy(s.buf[:], s.buf[s.n:s.n+n])
			s.n = 0
		}
		s.heard = now
	}
	s.n += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// split finds the first request in the buffer. pdu is nil if there is none. size is the number of
// bytes to remove in either case.
func (s *RequestReader) split() (unit uint8, pdu []byte, size int, err error) {
	b := s.buf[:s.n]
	switch {
	case s.framing == TCP:
		frame, err := splitTCP(b)
		if err != nil {
			return 0, nil, 0, fmt.Errorf("%w: %w", ErrGarbage, err)
		}
		if frame == nil {
			return 0, nil, 0, nil
		}
		return frame[6], frame[7:], len(frame), nil
	case s.framing.ascii():
		_, body, end, _ := findASCII(b)
		if body == nil {
			s.skip(b[:end])
			return 0, nil, end, nil
		}
		return body[0], body[1:], end, nil
	}
	// On a stream nothing comes between requests. Wait for the rest of what begins like a request,
	// so that a part of it is not mistaken for another.
	if size, more := rtuRequestSize(b); s.framing == RTUOverTCP && (more || size > len(b) && size <= 256) {
		return 0, nil, 0, nil
	}
	body, end := findRTURequest(b)
	if body == nil {
		if s.framing == RTUOverTCP && s.n == len(s.buf) {
			return 0, nil, 0, fmt.Errorf("%w: %d bytes without an RTU request", ErrGarbage, s.n)
		}
		return 0, nil, 0, nil
	}
	return body[0], body[1:], end, nil
}

// query returns the request that split has found.
func (s *RequestReader) query(unit uint8, pdu []byte, size int) Query {
	s.done, s.size = size, s.framing.size(len(pdu))
	q := Query{PDU: pdu}
	if s.framing == TCP {
		q.Transaction = binary.BigEndian.Uint16(s.buf[:])
	} else {
		s.skip(s.buf[:size-s.size])
	}
	var err error
	if q.Request, err = ParseRequest(unit, pdu); err != nil {
		// There are no other errors, and errors.As would cost an allocation for each query.
		q.Refused, _ = err.(*Exception)
	}
	return q
}

// findRTURequest finds the first request frame with a correct CRC in b. A frame of a function
// without a known length, or of a loopback, is accepted only if it is all of b, because nothing
// else marks its end.
func findRTURequest(b []byte) (body []byte, end int) {
	if n := len(b); n >= 4 && n <= 256 {
		size, more := rtuRequestSize(b)
		long := b[1] == Diagnostics && n > size
		if (size == 0 && !more && b[1] < 0x80 || long) && crc(b) == 0 {
			return b[:n-2], n
		}
	}
	for i := 0; i+2 <= len(b); i++ {
		n, _ := rtuRequestSize(b[i:])
		if n > 0 && i+n <= len(b) && n <= 256 && crc(b[i:i+n]) == 0 {
			return b[i : i+n-2], i + n
		}
	}
	return nil, 0
}
