package actorstest

import (
	"context"
	"sync"

	"google.golang.org/protobuf/proto"

	"gatewayd/bus"
)

// Recorder is a bus that records what is published. It delivers it only to tests, by Watch.
type Recorder struct {
	mu   sync.Mutex
	all  []Published
	ears []func(Published)
	full bool
}

// Published is one message published on a Recorder.
type Published struct {
	Subject string
	Message proto.Message
}

// Publish implements actors.Bus.
func (r *Recorder) Publish(subject string, m proto.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.full {
		return bus.Errorf(bus.Unavailable, "the recorder is full")
	}
	p := Published{subject, proto.Clone(m)} // an actor may reuse its message
	r.all = append(r.all, p)
	for _, ear := range r.ears {
		ear(p)
	}
	return nil
}

func (r *Recorder) hear(ear func(Published)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ears = append(r.ears, ear)
}

// Refuse makes the recorder refuse all messages, or accept them again.
func (r *Recorder) Refuse(all bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.full = all
}

// PublishRaw implements actors.Bus.
func (r *Recorder) PublishRaw(string, string, []byte) error { return nil }

// Subscribe implements actors.Bus.
func (r *Recorder) Subscribe(string, func(bus.Msg)) (func(), error) { return func() {}, nil }

// CallRaw implements actors.Bus.
func (r *Recorder) CallRaw(context.Context, string, string, []byte) (string, []byte, error) {
	return "", nil, bus.Errorf(bus.Unavailable, "a recorder answers no calls")
}

// All returns everything published so far.
func (r *Recorder) All() []Published {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Published(nil), r.all...)
}
