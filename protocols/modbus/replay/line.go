// Package replay acts as the far end of a recorded Modbus line or connection: it gives the recorded
// answers with their delays, errors and omissions. The client is the real one. It also works in
// virtual time (testing/synctest), because it waits for nothing but the clock.
package replay

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/record"
)

// Line is a recording that answers requests. Its time begins with the first Dial. It is safe for
// concurrent use.
//
// A request gets the recorded answer to the same request at the nearest time. A client that sends
// it a little earlier or later than recorded, or less often, sees the line as it was then. A
// request that is not in the recording is not answered; see Strangers.
type Line struct {
	header record.Header
	speed  float64
	length time.Duration
	asked  map[string][]exchange // by the request, in chronological order
	gaps   []gap

	mu        sync.Mutex
	began     time.Time
	strangers []string
	ids       map[uint16]uint16 // transaction ids of the recording mapped to current ones
}

// exchange is a request and what was received until the next one.
type exchange struct {
	at time.Duration
	id uint16 // transaction id
	// replies with their delays after the request.
	replies []reply
}

type reply struct {
	after time.Duration
	bytes []byte
	lost  bool // the connection ended
}

// gap is a period without a connection or port.
type gap struct{ from, to time.Duration }

// New returns a Line for a recording, which it reads to its end. At speed 2 the recording lasts
// half as long, with half the delays.
func New(r io.Reader, speed float64) (*Line, error) {
	in, err := record.NewReader(r)
	if err != nil {
		return nil, err
	}
	l := &Line{header: in.Header(), speed: speed, asked: map[string][]exchange{}, ids: map[uint16]uint16{}}
	var all []record.Entry
	for {
		e, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	l.take(all)
	return l, nil
}

// take sorts the entries into exchanges and gaps.
func (l *Line) take(all []record.Entry) {
	framing := l.header.Framing
	var key string
	var now *exchange
	done := func() {
		if now != nil {
			l.asked[key] = append(l.asked[key], *now)
		}
		now = nil
	}
	lost := time.Duration(-1)
	for _, e := range all {
		l.length = max(l.length, e.At)
		switch {
		case e.Direction == modbus.Sent:
			done()
			key, now = keyOf(framing, e.Bytes), &exchange{at: e.At, id: transaction(framing, e.Bytes)}
		case e.Direction == modbus.Received && now != nil:
			now.replies = append(now.replies, reply{after: e.At - now.at, bytes: e.Bytes})
		case e.Mark == modbus.Lost:
			lost = e.At
			if now != nil {
				now.replies = append(now.replies, reply{after: e.At - now.at, lost: true})
			}
		case e.Mark == modbus.Opened && lost >= 0:
			l.gaps = append(l.gaps, gap{lost, e.At})
			lost = -1
		}
	}
	done()
	if lost >= 0 && lost < l.length {
		l.gaps = append(l.gaps, gap{lost, math.MaxInt64})
	}
}

// keyOf returns what identifies a request: the frame without its transaction id.
func keyOf(f modbus.Framing, b []byte) string {
	if f == modbus.TCP {
		return string(b[min(6, len(b)):])
	}
	return string(b)
}

func transaction(f modbus.Framing, b []byte) uint16 {
	if f != modbus.TCP || len(b) < 2 {
		return 0
	}
	return uint16(b[0])<<8 | uint16(b[1])
}

// Header returns the header of the recording.
func (l *Line) Header() record.Header { return l.header }

// Length returns the duration of the replay.
func (l *Line) Length() time.Duration { return l.scaled(l.length) }

func (l *Line) scaled(d time.Duration) time.Duration {
	if d == math.MaxInt64 {
		return d
	}
	return time.Duration(float64(d) / l.speed)
}

// now returns the current time within the recording.
func (l *Line) now() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.began.IsZero() {
		l.began = time.Now()
	}
	return time.Duration(float64(time.Since(l.began)) * l.speed)
}

// Strangers returns the requests for which the recording has no answer, each once, in the order of
// their arrival.
func (l *Line) Strangers() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.strangers)
}

// soon is the longest wait for the end of a gap before a port is opened.
const soon = 100 * time.Millisecond

// Dial returns a connection, or the port. In a gap of the recording it waits for the end of the
// gap, with a port only briefly.
func (l *Line) Dial(ctx context.Context) (modbus.Conn, error) {
	at := l.now()
	for _, g := range l.gaps {
		if at < g.from || at >= g.to {
			continue
		}
		wait := l.scaled(g.to - at)
		if l.header.Transport == "serial" && wait > soon {
			return nil, fmt.Errorf("the recording has no port at this time: %w", syscall.ENODEV)
		}
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("the recording has no connection at this time: %w", ctx.Err())
		}
	}
	return newConn(l), nil
}

// ask returns the replies to a request.
func (l *Line) ask(frame []byte) []reply {
	at := l.now()
	all := l.asked[keyOf(l.header.Framing, frame)]
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(all) == 0 {
		if s := l.describe(frame); !slices.Contains(l.strangers, s) {
			l.strangers = append(l.strangers, s)
		}
		return nil
	}
	i, _ := slices.BinarySearchFunc(all, at, func(e exchange, at time.Duration) int { return int(min(max(e.at-at, -1), 1)) })
	if i == len(all) || i > 0 && at-all[i-1].at <= all[i].at-at {
		i--
	}
	if l.header.Framing != modbus.TCP {
		return all[i].replies
	}
	l.ids[all[i].id] = transaction(modbus.TCP, frame)
	replies := slices.Clone(all[i].replies)
	for n, r := range replies {
		if id, ok := l.ids[transaction(modbus.TCP, r.bytes)]; ok && len(r.bytes) >= 2 {
			replies[n].bytes = slices.Concat([]byte{byte(id >> 8), byte(id)}, r.bytes[2:])
		}
	}
	return replies
}

func (l *Line) describe(frame []byte) string {
	f := modbus.Frame{Direction: modbus.Sent, Bytes: frame, Size: len(frame)}
	if r, err := modbus.ParseRequest(unitOf(l.header.Framing, frame), f.PDU(l.header.Framing)); err == nil {
		return r.String()
	}
	return fmt.Sprintf("% x", frame)
}

// unitOf returns the unit a frame is addressed to; 0 if it is not a frame.
func unitOf(f modbus.Framing, frame []byte) uint8 {
	at := 0
	switch f {
	case modbus.TCP:
		at = 6
	case modbus.ASCII, modbus.ASCIIOverTCP:
		n, _ := strconv.ParseUint(string(frame[min(1, len(frame)):min(3, len(frame))]), 16, 8)
		return uint8(n)
	}
	if at >= len(frame) {
		return 0
	}
	return frame[at]
}
