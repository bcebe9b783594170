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
	later  *Later
}

// Master tells who asks.
func (q *Query) Master() *Master { return q.master }

// Line says whether other units may share the medium with us, so that a request for one that is none of ours is not ours to answer.
func (q *Query) Line() bool { return q.master.pace != nil }

// Later takes the request over: it is answered when that is known.
func (q *Query) Later() *Later {
	m := q.master
	l := &Later{master: m, transaction: q.Transaction, unit: q.Unit, function: q.PDU[0], mute: q.Broadcast}
	if m.door.Framing != modbus.TCP && !q.Broadcast { // nobody waits for that, so nobody gives it up
		l.number = m.supersede()
	}
	m.mu.Lock()
	m.open++
	m.mu.Unlock()
	q.later = l
	return l
}

// Later is a request that is not answered yet. Its methods may be called by any goroutine and never block.
type Later struct {
	master      *Master
	transaction uint16
	unit        uint8
	function    uint8
	mute        bool
	number      uint64
	done        atomic.Bool
}

// Function is the request's function code.
func (l *Later) Function() uint8 { return l.function }

// Gone says whether nobody waits for the answer any more.
func (l *Later) Gone() bool {
	m := l.master
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gone || l.stale()
}

func (l *Later) stale() bool { return l.number != 0 && l.number != l.master.newest }

// Refuse answers with an exception.
func (l *Later) Refuse(code uint8) { l.Reply(modbus.AppendException(nil, l.function, code)) }

// Reply answers; only the first answer counts. The PDU is not kept.
func (l *Later) Reply(pdu []byte) {
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
		m.server.running.Add(1) // while the master is there its own goroutine keeps Close waiting
	}
	m.mu.Unlock()
	if mine {
		go m.flush()
	}
}

// flush writes what a Later has queued.
func (m *Master) flush() {
	defer m.server.running.Done()
	defer m.server.rescue(m)
	m.mu.Lock()
	m.drain()
}
