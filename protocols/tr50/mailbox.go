package tr50

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"gatewayd/protocols/uplink"
)

const (
	mailTime  = 30 * time.Second // for one exchange about mail
	maxAtOnce = 20               // messages
)

// mailbox checks for mail until the connection ends.
func (x *sender) mailbox() {
	defer x.guard()
	every := time.NewTicker(max(x.s.cfg.Every, time.Second))
	defer every.Stop()
	for {
		select {
		case <-x.post:
		case <-every.C:
		case <-x.done:
			return
		}
		x.fetch()
	}
}

func (x *sender) fetch() {
	ctx, cancel := context.WithTimeout(context.Background(), mailTime)
	defer cancel()
	replies, err := x.exchange(ctx, []command{{Command: "mailbox.check", Params: map[string]any{"autoComplete": false, "limit": maxAtOnce}}})
	if err != nil || replies[0].failure() != "" {
		return // it is checked again, and the end of a connection is reported elsewhere
	}
	mail, err := letters(replies[0].Params)
	if err != nil {
		return
	}
	fresh := 0
	for _, m := range mail {
		if x.open(m) {
			fresh++
		}
	}
	if fresh > 0 && len(mail) >= maxAtOnce {
		x.look()
	}
}

// open carries out the request in a message. If that was done before, it acknowledges the outcome
// again. It returns whether the message is new.
func (x *sender) open(m mail) bool {
	x.s.mu.Lock()
	had, known := x.s.seen[m.ID]
	if !known {
		x.s.remember(m.ID)
	}
	done := known && had.done
	x.s.mu.Unlock()
	if done {
		x.s.tell(m.ID)
	}
	if known {
		return false
	}
	actor, method, found := x.s.method(m.Params.Method)
	switch {
	case m.Command != "method.exec":
		x.s.settle(m.ID, outcome{code: unsupported, why: fmt.Sprintf("%s is not supported", m.Command)})
	case !found:
		x.s.settle(m.ID, outcome{code: notFound, why: fmt.Sprintf("unknown method %q", m.Params.Method)})
	case x.hear.Command == nil:
		x.s.settle(m.ID, outcome{code: unsupported, why: "this gateway takes no commands"})
	default:
		payload := m.Params.Params
		if string(payload) == "null" {
			payload = nil
		}
		x.hear.Command(uplink.Command{Actor: actor, Method: method, Payload: payload, Answer: func(answer []byte, err error) {
			o := outcome{code: success, params: answer}
			switch {
			case err != nil:
				o = outcome{code: failed, why: err.Error()}
			case len(answer) > 0 && !json.Valid(answer):
				o = outcome{code: badRequest, why: "the command was carried out, but its answer is not JSON"}
			}
			x.s.settle(m.ID, o)
		}})
	}
	return true
}

// method returns the call that a method of the mailbox stands for.
func (s *Session) method(name string) (actor, method string, found bool) {
	if stands, mapped := s.cfg.Methods[name]; mapped {
		name = stands
	}
	at := strings.LastIndexByte(name, '/')
	if at <= 0 || at == len(name)-1 {
		return "", "", false
	}
	return name[:at], name[at+1:], true
}

// remember notes that a message is being handled; the lock is held.
func (s *Session) remember(id string) {
	s.seen[id] = &outcome{}
	s.order = append(s.order, id)
	for i := 0; len(s.order) > maxMail && i < len(s.order); {
		if old := s.order[i]; s.seen[old].done {
			delete(s.seen, old)
			s.order = append(s.order[:i], s.order[i+1:]...)
			continue
		}
		i++ // messages being handled are not forgotten
	}
}

// settle notes an outcome and acknowledges it.
func (s *Session) settle(id string, o outcome) {
	s.mu.Lock()
	if had := s.seen[id]; had != nil && !had.done {
		o.done = true
		*had = o
	}
	s.mu.Unlock()
	s.tell(id)
}

// tell acknowledges a message over the present connection. If that fails, the message comes again
// and is acknowledged then.
func (s *Session) tell(id string) {
	s.mu.Lock()
	x, o := s.sender, s.seen[id]
	var told outcome
	if o != nil {
		told = *o
	}
	s.mu.Unlock()
	if x == nil || !told.done {
		return
	}
	params := map[string]any{"id": id, "errorCode": told.code}
	if told.why != "" {
		params["errorMessage"] = told.why
	}
	if len(told.params) > 0 {
		params["params"] = told.params
	}
	go func() {
		defer x.guard()
		ctx, cancel := context.WithTimeout(context.Background(), mailTime)
		defer cancel()
		_, _ = x.exchange(ctx, []command{{Command: "mailbox.ack", Params: params}})
	}()
}
