package modbus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Query is a request as a server receives it.
type Query struct {
	Request
	Transaction uint16 // TCP: comes back in the answer
	// Refused is nil, or why the PDU cannot be a request; it is the answer to give unless the query was a broadcast.
	Refused *Exception
	// PDU is the request as it came, from the function code on. It is valid until the next call of Next.
	PDU []byte
}

// ErrGarbage: a stream carries what is no Modbus of its framing, and nothing tells where a request would begin.
var ErrGarbage = errors.New("not Modbus")

// RequestReader takes the requests out of what a client sends. It is used by one goroutine.
type RequestReader struct {
	// Flawed is called with what belongs to no request, and what that may have been, if anybody wants to know. It keeps no byte of it.
	Flawed func(m Mark, b []byte)

	r       io.Reader
	framing Framing
	buf     [1040]byte
	n       int
	done    int // bytes at the beginning that belong to the request given last
	size    int // of its frame, at the end of those
	skipped uint64
	heard   time.Time
}

// NewRequestReader reads from r. On a line (RTU, ASCII) r also delivers noise and the answers of other units: bytes that are no request are
// skipped, and what is incomplete is dropped when more comes only after a pause, as the specification wants it (§2.5.1.1).
func NewRequestReader(r io.Reader, f Framing) *RequestReader {
	return &RequestReader{r: r, framing: f}
}

// Next waits for the next request. An error is r's, or ErrGarbage; the stream is then over.
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

// Pending says whether Next will return without reading from the connection. It ends what Next gave last.
func (s *RequestReader) Pending() bool {
	s.consume()
	_, pdu, size, err := s.split()
	if pdu == nil {
		s.done = size
	}
	return pdu != nil || err != nil
}

// Frame is what Next gave last, as it came. It is valid until the next call of Next.
func (s *RequestReader) Frame() []byte { return s.buf[s.done-s.size : s.done] }

// Skipped counts the bytes that belonged to no request.
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

// split finds the first request in the buffer; pdu is nil if there is none. size is how many bytes are done with in any case.
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
	// On a stream nothing comes between requests: what begins like one is waited for, lest a part of it is taken for another.
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

// query is the request that split has found.
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
		q.Refused, _ = err.(*Exception) // nothing else, and errors.As would cost each query an allocation
	}
	return q
}

// findRTURequest finds the first request frame with a good CRC in b. A frame of a function without a known length, or of a loopback, is one
// only if it is all there is: nothing else tells its end.
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
