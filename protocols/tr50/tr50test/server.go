// Package tr50test is a TR50 server for tests, with the commands that an uplink needs. It was
// written from the public API reference of the deviceWISE IoT portal alone. It is a client of a
// real broker, where it answers what is published on api.
package tr50test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"gatewayd/protocols/mqttclient"
)

// Server records what is published.
type Server struct {
	client *mqttclient.Client
	done   chan struct{}

	mu       sync.Mutex
	got      []Published
	mail     []letter
	acks     map[string]Ack
	refuse   func(Published) string
	silent   func(envelope string) bool
	requests []string
}

// Published is one published thing: kind is property, attribute, alarm, location or log.
type Published struct {
	Kind   string
	Params map[string]any
}

// String returns the key with its value.
func (p Published) String() string {
	for _, v := range []string{"value", "state", "msg", "lat"} {
		if x, ok := p.Params[v]; ok {
			return fmt.Sprintf("%s %v=%v", p.Kind, p.Params["key"], x)
		}
	}
	return p.Kind
}

// Ack is the acknowledgement of a message in the mailbox.
type Ack struct {
	ID           string          `json:"id"`
	ErrorCode    int             `json:"errorCode"`
	ErrorMessage string          `json:"errorMessage"`
	Params       json.RawMessage `json:"params"`
	Times        int             `json:"-"`
}

type letter struct {
	ID      string         `json:"id"`
	Thing   string         `json:"thingKey"`
	Command string         `json:"command"`
	Params  map[string]any `json:"params"`
}

type answer struct {
	Success       bool     `json:"success"`
	ErrorCodes    []int    `json:"errorCodes,omitempty"`
	ErrorMessages []string `json:"errorMessages,omitempty"`
	Params        any      `json:"params,omitempty"`
}

// New runs a server at a broker until Close.
func New(ctx context.Context, url string) (*Server, error) {
	s := &Server{acks: map[string]Ack{}, done: make(chan struct{})}
	requests := make(chan mqttclient.Message, 1000)
	var err error
	s.client, err = mqttclient.Dial(ctx, mqttclient.Config{URL: url, ClientID: "tr50-server", Subscriptions: []mqttclient.Subscription{
		{Filter: "api/#", QoS: 1, OnMessage: func(m mqttclient.Message) { requests <- m }},
	}})
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			select {
			case m := <-requests:
				s.serve(m)
			case <-s.done:
				return
			}
		}
	}()
	return s, nil
}

// Close ends the server. Call it once.
func (s *Server) Close() error {
	close(s.done)
	return s.client.Close()
}

// Refuse sets a function that returns why something is refused; empty: it is accepted.
func (s *Server) Refuse(why func(Published) string) { s.mu.Lock(); s.refuse = why; s.mu.Unlock() }

// Silent sets a function that selects envelopes that are carried out but not answered.
func (s *Server) Silent(which func(envelope string) bool) {
	s.mu.Lock()
	s.silent = which
	s.mu.Unlock()
}

// Got returns everything published so far.
func (s *Server) Got() []Published { s.mu.Lock(); defer s.mu.Unlock(); return slices.Clone(s.got) }

// Requests returns the envelopes so far.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Acked returns the acknowledgement of a message.
func (s *Server) Acked(id string) (Ack, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.acks[id]
	return a, ok
}

// Exec puts a method for a thing into its mailbox. Unless quiet, the thing is notified.
func (s *Server) Exec(id, thing, method string, params map[string]any, quiet bool) error {
	s.mu.Lock()
	s.mail = append(s.mail, letter{id, thing, "method.exec", map[string]any{"method": method, "params": params}})
	s.mu.Unlock()
	if quiet {
		return nil
	}
	return s.client.Post(mqttclient.Message{Topic: "notify/mailbox_activity", Payload: fmt.Appendf(nil, `{"thingKey":%q}`, thing), QoS: 1}, nil)
}

func (s *Server) serve(m mqttclient.Message) {
	suffix, found := strings.CutPrefix(m.Topic, "api/")
	var all map[string]struct {
		Command string         `json:"command"`
		Params  map[string]any `json:"params"`
	}
	if !found || json.Unmarshal(m.Payload, &all) != nil {
		return
	}
	s.mu.Lock()
	s.requests = append(s.requests, string(m.Payload))
	replies := map[string]answer{}
	keys := make([]string, 0, len(all))
	for k := range all {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int { return len(a)*1000 - len(b)*1000 + strings.Compare(a, b) })
	for _, k := range keys {
		replies[k] = s.command(all[k].Command, all[k].Params)
	}
	silent := s.silent != nil && s.silent(string(m.Payload))
	s.mu.Unlock()
	if silent {
		return
	}
	payload, _ := json.Marshal(replies)
	_ = s.client.Post(mqttclient.Message{Topic: "reply/" + suffix, Payload: payload, QoS: 1}, nil)
}

func (s *Server) command(name string, params map[string]any) answer {
	kind, verb, _ := strings.Cut(name, ".")
	switch {
	case name == "mailbox.check":
		return answer{Success: true, Params: map[string]any{"messages": s.mail}}
	case name == "mailbox.ack":
		return s.ack(params)
	case verb == "publish":
		return s.publish(Published{kind, params})
	case verb == "batch" && kind != "log":
		data, _ := params["data"].([]any)
		for _, x := range data {
			one, _ := x.(map[string]any)
			if a := s.publish(Published{kind, one}); !a.Success {
				return a // the first failure ends the command
			}
		}
		return answer{Success: len(data) > 0}
	}
	return answer{ErrorCodes: []int{-1}, ErrorMessages: []string{"unknown command " + name}}
}

// required are the mandatory parameters of each kind.
var required = map[string][]string{"property": {"key", "value"}, "attribute": {"key", "value"}, "alarm": {"key", "state"}, "location": {"lat", "lng"}, "log": {"msg"}}

func (s *Server) publish(p Published) answer {
	for _, name := range required[p.Kind] {
		if p.Params[name] == nil {
			return answer{ErrorCodes: []int{-2}, ErrorMessages: []string{name + " is missing"}}
		}
	}
	if _, number := p.Params["value"].(float64); p.Kind == "property" && !number || required[p.Kind] == nil {
		return answer{ErrorCodes: []int{-3}, ErrorMessages: []string{"not a property"}}
	}
	if s.refuse != nil {
		if why := s.refuse(p); why != "" {
			return answer{ErrorCodes: []int{-90008}, ErrorMessages: []string{why}}
		}
	}
	s.got = append(s.got, p)
	return answer{Success: true}
}

func (s *Server) ack(params map[string]any) answer {
	var a Ack
	b, _ := json.Marshal(params)
	if err := json.Unmarshal(b, &a); err != nil || a.ID == "" {
		return answer{ErrorCodes: []int{-2}, ErrorMessages: []string{"id is missing"}}
	}
	a.Times = s.acks[a.ID].Times + 1
	s.acks[a.ID] = a
	s.mail = slices.DeleteFunc(s.mail, func(l letter) bool { return l.ID == a.ID })
	return answer{Success: true}
}
