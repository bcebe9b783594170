package uplink

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	far "gatewayd/protocols/uplink"
	"gatewayd/schemas"
	accessv1 "gatewayd/schemas/access/v1"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// commandState counts the commands of the far end that are being carried out.
type commandState struct{ callsRunning int }

// command is a command as it arrives from the far end.
type command struct{ far.Command }

// remoteCall is a command that is being carried out by an actor.
type remoteCall struct {
	command
	topic string
	as    actors.Caller
	asked bool // the actor has been called
	sent  bool // an answer has been sent; a method may give several
}

// maxCalls is the number of commands that may run at once. Further ones are refused.
const maxCalls = 64

// Identity returns the identity under which firewalls judge and audits record the commands of an
// uplink whose config names no user for them.
func Identity(path string) string { return "uplink/" + path }

// command carries out a command if the config lists it.
func (e *engine) command(c *actors.Context, m command) {
	x := &remoteCall{command: m, topic: "cmd/" + m.Actor + "/" + m.Method, as: actors.Caller{Identity: Identity(c.Name()), Trace: actors.NewTrace()}}
	if e.user != "" {
		x.as.Identity = "user/" + e.user
	}
	switch {
	case !slices.ContainsFunc(e.allow, func(pattern string) bool { return covers(pattern, x.topic) }):
		e.answer(c, x, nil, actors.Errorf(actors.PermissionDenied, "%s is not among the commands that this uplink allows", x.topic))
		return
	case e.callsRunning >= maxCalls:
		e.answer(c, x, nil, actors.Errorf(actors.ResourceExhausted, "%d commands are in progress", e.callsRunning))
		return
	}
	e.callsRunning++
	typ, payload := m.ContentType, m.Payload
	if typ == "" {
		typ = "application/json"
	}
	if len(payload) == 0 && typ == "application/json" {
		payload = []byte("{}")
	}
	x.asked = true
	c.As(x.as).Call(x.topic, typ, payload, e.patience, x)
}

// called handles the answer of an actor. If the method gives several answers, the far end gets the
// first.
func (e *engine) called(c *actors.Context, m actors.Called) {
	x, ok := m.Tag.(*remoteCall)
	if !ok {
		return
	}
	if !m.More {
		e.callsRunning--
	}
	if x.sent {
		return
	}
	x.sent = true
	e.answer(c, x, m.Payload, m.Err)
}

func (e *engine) answer(c *actors.Context, x *remoteCall, payload []byte, err error) {
	why := ""
	if err != nil {
		e.counts.Refused++
		_, why = actors.Explain(err)
	} else {
		e.counts.Commands++
	}
	c.Event("commanded", &uplinkv1.Commanded{
		Time: timestamppb.New(time.Now()), Command: x.topic, Error: why, Caller: x.as.Identity, Trace: x.as.Trace, Asked: x.asked,
	})
	if x.Answer != nil {
		x.Answer(payload, err)
	}
}

// unknownUsers returns a finding for each commands.user that no access-control lists: nothing would
// check the rights of such a user.
func unknownUsers[C Config](all []schemas.Actor) (found []schemas.Finding) {
	known := map[string]bool{}
	var names []string
	for _, a := range all {
		cfg, ok := a.Config.(*accessv1.Access)
		if !ok {
			continue
		}
		for _, id := range cfg.Identities {
			known[id.Name] = true
			names = append(names, id.Name)
		}
	}
	for _, a := range all {
		cfg, ok := a.Config.(C)
		if !ok {
			continue
		}
		with, ok := any(cfg).(commander)
		if !ok || with.GetCommands().GetUser() == "" || known[with.GetCommands().GetUser()] {
			continue
		}
		found = append(found, schemas.Finding{Actor: a.Path, Violation: schemas.Violation{
			Field:   "commands.user",
			Message: fmt.Sprintf("unknown identity %q%s: no access-control has it", with.GetCommands().GetUser(), schemas.DidYouMean(with.GetCommands().GetUser(), names)),
		}})
	}
	return found
}

// covers reports whether an MQTT-style pattern matches a topic. "a/#" matches "a" too.
func covers(pattern, topic string) bool {
	p, t := strings.Split(pattern, "/"), strings.Split(topic, "/")
	for i, part := range p {
		if part == "#" {
			return true
		}
		if i >= len(t) || part != "+" && part != t[i] {
			return false
		}
	}
	return len(p) == len(t)
}
