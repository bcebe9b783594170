package server

import (
	"errors"
	"io"
	"net"
	"os"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"gatewayd/protocols/modbus"
)

// backlog is the number of bytes of answers that may be queued for a master that keeps sending
// requests without reading the answers.
const backlog = 64 << 10

var (
	errSlow = errors.New("it does not read its answers")
	errIdle = errors.New("no request for too long")
)

// Master is one connection, or one serial line with the master on it.
type Master struct {
	server  *Server
	conn    modbus.Conn
	hangup  func() error
	door    Door
	entry   *entry // nil: a line
	address string
	role    string
	since   time.Time
	pace    pacer // of a serial line; nil: none

	in    *modbus.RequestReader
	query Query // the current one; kept here to save an allocation per request
	pdu   []byte
	batch []byte    // answers of the reader that are not in out yet
	set   time.Time // when the read deadline was set
	fresh bool      // a request has arrived since

	requests   atomic.Uint64
	exceptions atomic.Uint64
	garbage    atomic.Uint64
	last       atomic.Int64 // when the last request arrived, ns since the epoch; 0: none has

	mu      sync.Mutex
	room    sync.Cond
	open    int    // taken over by a Deferred and not answered yet
	newest  uint64 // number of the newest request, for masters that may have only one under way
	out     []byte
	spare   []byte
	writing bool
	limit   time.Time // write deadline
	gone    bool
	proven  bool // by a certificate
	who     any  // result of Config.Admit
}

func newMaster(s *Server, c modbus.Conn, d Door, address string) *Master {
	m := &Master{server: s, conn: c, hangup: c.Close, door: d, address: address, since: time.Now()}
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		m.hangup = t.NetConn().Close // closing TLS first sends an alert, which may block
	}
	m.room.L = &m.mu
	m.in = modbus.NewRequestReader(source{m}, d.Framing)
	m.in.Flawed = func(mark modbus.Mark, b []byte) { m.saw(modbus.Received, mark, 0, 0, b) }
	return m
}

// Name returns the name by which the master's rights are determined: the role that its certificate
// proves, or otherwise its address without the port; on a serial line the last part of the line's
// name, ttyS1 for "serial /dev/ttyS1".
func (m *Master) Name() string {
	switch {
	case m.role != "":
		return m.role
	case m.address == "":
		return path.Base(m.door.Name)
	}
	if host, _, err := net.SplitHostPort(m.address); err == nil {
		return host
	}
	return m.address
}

// Who returns the result of Config.Admit for the master; nil: it was not called.
func (m *Master) Who() any { return m.who }

// serve answers requests until the connection ends; the error says why.
func (m *Master) serve() error {
	m.happened(modbus.Opened, "connected")
	for {
		got, err := m.in.Next()
		m.skipped()
		if err != nil {
			m.give() // answers to requests received before the error
			return err
		}
		m.handle(got)
		if !m.in.Pending() {
			m.give()
		}
	}
}

// give sends the batched answers.
func (m *Master) give() {
	if len(m.batch) > 0 {
		m.send(m.batch)
		m.batch = m.batch[:0]
	}
}

// skipped counts bytes that belonged to no request.
func (m *Master) skipped() {
	if n, was := m.in.Skipped(), m.garbage.Load(); n != was {
		m.garbage.Store(n)
		m.server.counts.garbage.Add(n - was)
	}
}

func (m *Master) handle(got modbus.Query) {
	m.fresh = true
	m.saw(modbus.Received, modbus.Good, got.Unit, got.PDU[0], m.in.Frame())
	m.requests.Add(1)
	m.server.counts.requests.Add(1)
	q := &m.query
	*q = Query{Query: got, Broadcast: got.Unit == 0 && m.door.Framing != modbus.TCP, master: m}
	if m.door.Framing == modbus.TCP {
		m.await()
	}
	m.pdu = m.answer(m.pdu[:0], q)
	if q.Broadcast {
		return
	}
	if q.later == nil && m.door.Framing != modbus.TCP {
		m.supersede()
	}
	if len(m.pdu) > 0 && q.later == nil {
		m.count(m.pdu)
		at := len(m.batch)
		m.batch = modbus.AppendFrame(m.batch, m.door.Framing, got.Transaction, got.Unit, m.pdu)
		m.saw(modbus.Sent, modbus.Good, got.Unit, m.pdu[0], m.batch[at:])
	}
}

func (m *Master) answer(dst []byte, q *Query) []byte {
	handler := m.server.settings.Load().handler
	if !m.may(q.Write()) {
		if p, ok := handler.(RefusalHandler); ok && q.Refused == nil {
			p.Forbidden(q)
		}
		return modbus.AppendException(dst, q.PDU[0], modbus.IllegalFunction) // MBAP security V36, R-31
	}
	return handler.Handle(dst, q)
}

// may reports whether the master's role allows it, according to the current door.
func (m *Master) may(write bool) bool {
	allow := m.door.Allow
	if m.entry != nil {
		allow = m.entry.door.Load().Allow
	}
	return allow == nil || allow(m.role, write)
}

func (m *Master) count(pdu []byte) {
	if pdu[0]&0x80 != 0 {
		m.exceptions.Add(1)
		m.server.counts.exceptions.Add(1)
	}
}

// await waits until the number of the master's requests under way is below the limit.
func (m *Master) await() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.open >= m.server.settings.Load().InFlight && !m.gone {
		m.room.Wait()
	}
}

// supersede makes earlier requests unanswerable: without transaction ids, a master that sends a new
// request has given up the previous one, and would take its answer for that to the new one.
func (m *Master) supersede() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.newest++
	return m.newest
}

// send passes frames to the connection: it writes them, or leaves them to the goroutine that is
// writing.
func (m *Master) send(frames []byte) {
	m.mu.Lock()
	if !m.queue(frames) {
		m.mu.Unlock()
		return
	}
	m.drain()
}

// queue reports whether the caller must drain. The Master is locked.
func (m *Master) queue(frames []byte) (mine bool) {
	if m.gone {
		return false
	}
	if len(m.out)+len(frames) > backlog {
		m.cut(errSlow)
		return false
	}
	m.out = append(m.out, frames...)
	if m.writing {
		return false
	}
	m.writing = true
	return true
}

// drain writes until nothing is queued. The Master must be locked; it is unlocked on return.
func (m *Master) drain() {
	for len(m.out) > 0 && !m.gone {
		frames := m.out
		m.out, m.spare = m.spare[:0], nil
		m.extend()
		m.mu.Unlock()
		err := m.write(frames)
		m.mu.Lock()
		m.spare = frames
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = errSlow
			}
			m.cut(err)
		}
	}
	m.writing = false
	m.mu.Unlock()
}

// extend moves the write deadline. It does not do so at each write, which would cost as much as a
// tenth of an answer.
func (m *Master) extend() {
	slow := m.server.settings.Load().Slow
	if now := time.Now(); m.limit.Sub(now) < slow*3/4 {
		m.limit = now.Add(slow)
		_ = m.conn.SetWriteDeadline(m.limit)
	}
}

func (m *Master) write(frames []byte) error {
	if m.pace != nil {
		if err := m.pace.before(); err != nil {
			return err
		}
	}
	_, err := m.conn.Write(frames)
	return err
}

// cut ends the connection for a reason. The Master is locked.
func (m *Master) cut(why error) {
	if !m.gone {
		m.server.blame(m, why)
		m.ended(why)
	}
	m.gone = true
	m.room.Broadcast()
	_ = m.hangup()
}

// end ends the connection and records the reason.
func (m *Master) end(why error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cut(why)
}

// close ends the connection without a reason.
func (m *Master) close() { m.end(nil) }

// source is the io.Reader of a Master's RequestReader.
type source struct{ *Master }

func (m source) Read(b []byte) (int, error) {
	for {
		m.patience()
		n, err := m.conn.Read(b)
		if m.pace != nil && n > 0 {
			m.pace.heard()
		}
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		m.mu.Lock()
		busy := m.open > 0
		m.mu.Unlock()
		if !busy {
			return 0, errIdle
		}
		m.set = time.Time{} // a master that waits for our answer is not idle
	}
}

// patience moves the read deadline after requests, but not after each one. Bytes that are not a
// request do not count. A line may be silent forever.
func (m *Master) patience() {
	if !m.fresh && !m.set.IsZero() {
		return
	}
	now, idle := time.Now(), m.server.settings.Load().Idle
	if m.fresh {
		m.last.Store(now.UnixNano())
	}
	m.fresh = false
	switch {
	case m.pace != nil:
		m.set = now
	case now.Sub(m.set) > idle/8:
		m.set = now
		_ = m.conn.SetReadDeadline(now.Add(idle))
	}
}

// blame counts why a connection has ended.
func (s *Server) blame(m *Master, why error) {
	c := &s.counts
	switch {
	case why == nil, errors.Is(why, io.EOF), errors.Is(why, net.ErrClosed), errors.Is(why, os.ErrClosed):
		return
	case errors.Is(why, errSlow):
		c.cutSlow.Add(1)
	case errors.Is(why, errIdle):
		c.cutIdle.Add(1)
	case errors.Is(why, modbus.ErrGarbage):
		c.cutGarbage.Add(1)
	default:
		c.broken.Add(1)
	}
	s.log().Debug("modbus: connection ended", "door", m.door.Name, "remote", m.address, "err", why)
}
