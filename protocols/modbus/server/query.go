package server

import (
	"sync/atomic"

	"gatewayd/protocols/modbus"
)

// Query is a request of a master. Request and its Data may be kept; the PDU may not.
type Query struct {
	modbus.Query
	Broadcast bool // unit 0 of a serial framing: carried out, never answered

	master *Master
	later  *Deferred
}

// Master returns the master that sent the request.
func (q *Query) Master() *Master { return q.master }

// Line reports whether other units may share the medium with this server. If so, a request for a
// unit that is not ours must not be answered.
func (q *Query) Line() bool { return q.master.pace != nil }

// Defer takes over the request, to be answered when the answer is known.
func (q *Query) Defer() *Deferred {
	m := q.master
	l := &Deferred{master: m, transaction: q.Transaction, unit: q.Unit, function: q.PDU[0], mute: q.Broadcast}
	if m.door.Framing != modbus.TCP && !q.Broadcast { // nobody waits for a broadcast, so it is not given up either
		l.number = m.supersede()
	}
	m.mu.Lock()
	m.open++
	m.mu.Unlock()
	q.later = l
	return l
}

// Deferred is a request that is not answered yet. Its methods may be called by any goroutine and
// never block.
type Deferred struct {
	master      *Master
	transaction uint16
	unit        uint8
	function    uint8
	mute        bool
	number      uint64
	done        atomic.Bool
}

// Function returns the request's function code.
func (l *Deferred) Function() uint8 { return l.function }

// Gone reports whether nobody waits for the answer any more.
func (l *Deferred) Gone() bool {
	m := l.master
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gone || l.stale()
}

func (l *Deferred) stale() bool { return l.number != 0 && l.number != l.master.newest }

// Refuse answers with an exception.
func (l *Deferred) Refuse(code uint8) { l.Reply(modbus.AppendException(nil, l.function, code)) }

// Reply answers the request; only the first answer counts. The PDU is not kept.
func (l *Deferred) Reply(pdu []byte) {
	if l.done.Swap(true) {
		return
	}
	m := l.master
	m.mu.Lock()
	m.open--
	m.room.Signal()
	if l.mute || l.stale() || m.gone {
		m.mu.Unlock()
		return
	}
	m.count(pdu)
	frame := modbus.AppendFrame(nil, m.door.Framing, l.transaction, l.unit, pdu)
	m.saw(modbus.Sent, modbus.Good, l.unit, l.function, frame)
	mine := m.queue(frame)
	if mine {
		m.server.running.Add(1) // the master's own goroutine, which keeps Close waiting, is still running here
	}
	m.mu.Unlock()
	if mine {
		go m.flush()
	}
}

// flush writes what a Deferred has queued.
func (m *Master) flush() {
	defer m.server.running.Done()
	defer m.server.rescue(m)
	m.mu.Lock()
	m.drain()
}
