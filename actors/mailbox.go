package actors

import (
	"runtime"
	"sync"

	"github.com/asynkron/protoactor-go/actor"
)

// mailKept is the number of messages for which an empty mailbox keeps room.
const mailKept = 128

// mailbox holds the messages waiting for one actor. It does what protoactor's own does, but
// allocates no memory per message.
type mailbox struct {
	invoker    actor.MessageInvoker
	dispatcher actor.Dispatcher
	serve      func() // m.run, allocated once

	mu        sync.Mutex
	system    fifo // handled before user messages
	user      fifo
	running   bool
	suspended bool // while a failure is handled, only system messages are
}

func newMailbox() actor.Mailbox {
	m := &mailbox{}
	m.serve = m.run
	return m
}

// RegisterHandlers implements actor.Mailbox.
func (m *mailbox) RegisterHandlers(invoker actor.MessageInvoker, dispatcher actor.Dispatcher) {
	m.invoker, m.dispatcher = invoker, dispatcher
}

// Start implements actor.Mailbox.
func (m *mailbox) Start() {}

// UserMessageCount implements actor.Mailbox.
func (m *mailbox) UserMessageCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.user.items) - m.user.head
}

// PostUserMessage implements actor.Mailbox.
func (m *mailbox) PostUserMessage(msg any) { m.post(&m.user, msg) }

// PostSystemMessage implements actor.Mailbox.
func (m *mailbox) PostSystemMessage(msg any) { m.post(&m.system, msg) }

func (m *mailbox) post(queue *fifo, msg any) {
	m.mu.Lock()
	queue.push(msg)
	begin := !m.running
	m.running = true
	m.mu.Unlock()
	if begin {
		m.dispatcher.Schedule(m.serve)
	}
}

// run serves the mailbox until it is empty.
func (m *mailbox) run() {
	for m.some() {
		runtime.Gosched()
	}
}

// some handles some messages and reports whether there are more. A panic is a failure of the actor.
func (m *mailbox) some() (more bool) {
	var msg any
	defer func() {
		if p := recover(); p != nil {
			m.invoker.EscalateFailure(p, msg)
			more = true
		}
	}()
	for range m.dispatcher.Throughput() {
		var system bool
		switch msg, system = m.next(); {
		case msg == nil:
			return false
		case system:
			m.invoker.InvokeSystemMessage(msg)
		default:
			m.invoker.InvokeUserMessage(msg)
		}
	}
	return true
}

// next takes out the next message; nil: there is none to handle now.
func (m *mailbox) next() (msg any, system bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		switch msg = m.system.pop(mailKept); msg.(type) {
		case nil:
			if !m.suspended {
				msg = m.user.pop(mailKept)
			}
			m.running = msg != nil
			return msg, false
		case *actor.SuspendMailbox:
			m.suspended = true
		case *actor.ResumeMailbox:
			m.suspended = false
		default:
			return msg, true
		}
	}
}
