package edge

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"gatewayd/protocols/sparkplug"
	"gatewayd/protocols/uplink"
)

// A Target is the call that writing a metric makes.
type Target struct {
	Actor, Method string
	Request       string // JSON; {value} stands for the written value
}

const placeholder = "{value}"

// CheckTargets returns what is wrong with the targets of commands.
func CheckTargets(commands []sparkplug.Command, targets []Target) error {
	if len(commands) != len(targets) {
		return errors.New("each command needs a target")
	}
	for i, t := range targets {
		if !json.Valid([]byte(strings.ReplaceAll(t.Request, placeholder, "1"))) {
			return fmt.Errorf("request of metric %q: %s is not JSON with %s in place of the value", commands[i].Metric, t.Request, placeholder)
		}
	}
	return nil
}

// write carries out a write. The lock of the Edge is held.
func (s *session) write(w sparkplug.Write) {
	finish := func(outcome string) {
		s.enter(func(now time.Time) sparkplug.Actions { return s.e.node.Done(w, outcome, now) }, true)
	}
	if s.hear.Command == nil {
		finish("commands are not accepted")
		return
	}
	s.mu.Lock()
	full := s.writes >= maxWrites || s.closing
	if !full {
		s.writes++
		s.quiet.Add(1)
	}
	s.mu.Unlock()
	if full {
		finish(fmt.Sprintf("%d writes are in progress", maxWrites))
		return
	}
	defer s.quiet.Done()
	t := s.e.target(w.Command)
	value, err := json.Marshal(w.Value)
	if err != nil { // NaN
		finish(err.Error())
		s.finished()
		return
	}
	s.hear.Command(uplink.Command{Actor: t.Actor, Method: t.Method, Payload: []byte(strings.ReplaceAll(t.Request, placeholder, string(value))),
		Answer: func(_ []byte, err error) {
			s.finished()
			if err != nil {
				finish(err.Error())
				return
			}
			finish("ok")
		}})
}

func (s *session) finished() {
	s.mu.Lock()
	s.writes--
	s.mu.Unlock()
}

func (e *Edge) target(c sparkplug.Command) Target {
	for i, x := range e.cfg.Node.Commands {
		if x == c {
			return e.cfg.Targets[i]
		}
	}
	return Target{}
}
