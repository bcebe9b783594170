package modbus

import (
	"encoding/binary"
	"errors"
	"io"
	"time"
)

// Query is a request as a server receives it.
type Query struct {
	Request
	Transaction uint16 // TCP: comes back in the answer
	// Refused is nil, or why the PDU cannot be a request; it is the answer to give unless the query was a broadcast.
	Refused *Exception
}

// RequestReader takes the requests out of what a client sends. It is used by one goroutine.
type RequestReader struct {
	r       io.Reader
	framing Framing
	buf     [1040]byte
	n       int
	heard   time.Time
}

// NewRequestReader reads from r. On a line (RTU, ASCII) r also delivers noise and the answers of other units: bytes that are no request are
// skipped, and what is incomplete is dropped when more comes only after a pause, as the specification wants it (§2.5.1.1).
func NewRequestReader(r io.Reader, f Framing) *RequestReader {
	return &RequestReader{r: r, framing: f}
}

// Next waits for the next request. An error is r's, or says that a TCP stream is none of Modbus; the stream is then over.
func (s *RequestReader) Next() (Query, error) {
	for {
		q, n, ok, err := s.split()
		if err != nil {
			return Query{}, err
		}
		s.n = copy(s.buf[:], s.buf[n:s.n])
		if ok {
			return q, nil
		}
		if err := s.fill(); err != nil {
			return Query{}, err
		}
	}
}

// Pending says whether Next will return without reading from the connection.
func (s *RequestReader) Pending() bool {
	_, _, ok, err := s.split()
	return ok || err != nil
}

func (s *RequestReader) fill() error {
	if s.n == len(s.buf) {
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

// split finds the first request in the buffer; n is how many bytes are done with in any case.
func (s *RequestReader) split() (q Query, n int, ok bool, err error) {
	b := s.buf[:s.n]
	switch {
	case s.framing == TCP:
		frame, err := splitTCP(b)
		if frame == nil || err != nil {
			return q, 0, false, err
		}
		return query(binary.BigEndian.Uint16(frame), frame[6:]), len(frame), true, nil
	case s.framing.ascii():
		_, body, end, _ := findASCII(b)
		if body == nil {
			return q, end, false, nil
		}
		return query(0, body), end, true, nil
	}
	body, end := findRTURequest(b)
	if body == nil {
		if s.framing == RTUOverTCP && s.n == len(s.buf) {
			return q, 0, false, errors.New("a thousand bytes without an RTU request")
		}
		return q, 0, false, nil
	}
	return query(0, body), end, true, nil
}

func query(transaction uint16, body []byte) Query {
	r, err := ParseRequest(body[0], body[1:])
	q := Query{Request: r, Transaction: transaction}
	errors.As(err, &q.Refused)
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
