package bus

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// places holds the positions of the readers opened in this process, by name. The server's own
// acknowledgement floor also counts messages as acknowledged that were delivered and then dropped
// from the stream.
type places struct {
	// Held for reading while a position is opened or recreated, for writing while others are
	// removed, so that a removed position does not come back.
	making sync.RWMutex

	mu       sync.Mutex
	all      map[string]uint64
	expected map[string]bool // expected readers, including those opened since; nil: Expect was not called
	others   bool            // the positions of all other readers are to be removed
}

// Expect sets the existing readers, by the paths of their actors. What they have not read counts as
// unread even before they open their positions, and positions of other readers are ignored.
func (b *Bus) Expect(readers []string) {
	p := &b.places
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected = map[string]bool{}
	for _, path := range readers {
		p.expected[readerName(path)] = true
	}
}

// ForgetOthers has the positions of all readers that are not expected removed, except those of
// outboxes (readers that read only what they have written themselves). Canary removes them, and
// retries until it succeeds.
func (b *Bus) ForgetOthers() {
	b.places.mu.Lock()
	defer b.places.mu.Unlock()
	b.places.others = true
}

// sweep removes the positions of readers that are not expected, if requested.
func (b *Bus) sweep(ctx context.Context) error {
	p := &b.places
	p.mu.Lock()
	wanted := p.others
	p.others = false
	p.mu.Unlock()
	if !wanted {
		return nil
	}
	err := b.forgetOthers(ctx)
	if err != nil {
		b.ForgetOthers()
	}
	return err
}

func (b *Bus) forgetOthers(ctx context.Context) error {
	s, err := b.js.Stream(ctx, streamTracks)
	if err != nil {
		return err
	}
	var found []string
	all := s.ListConsumers(ctx)
	for info := range all.Info() {
		if info.Name != hubConsumer(b.cfg.Gateway) && !b.outbox(info) {
			found = append(found, info.Name)
		}
	}
	p := &b.places
	p.making.Lock()
	defer p.making.Unlock()
	found = slices.DeleteFunc(found, p.reads)
	errs := []error{all.Err()}
	for _, name := range found {
		p.forget(name)
		err := b.js.DeleteConsumer(ctx, streamTracks, name)
		if err == nil {
			b.log.Info("removed the position in the tracks of a reader that is no longer in the config", "reader", pathOf(name))
		} else if !errors.Is(err, jetstream.ErrConsumerNotFound) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// outbox reports whether a reader reads only what it has written itself. Its position records what
// has been sent: without it everything would be sent again when the reader comes back.
func (b *Bus) outbox(info *jetstream.ConsumerInfo) bool {
	own, err := trackPattern(b.cfg.Gateway, pathOf(info.Name))
	read := append(slices.Clone(info.Config.FilterSubjects), info.Config.FilterSubject)
	return err == nil && slices.Contains(read, own) && !slices.ContainsFunc(read, func(p string) bool { return p != own && p != "" })
}

// expect adds a reader whose position is being opened.
func (p *places) expect(reader string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.expected != nil {
		p.expected[reader] = true
	}
}

// reads reports whether the reader exists. If Expect was not called, the readers opened in this
// process exist.
func (p *places) reads(reader string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.expected != nil {
		return p.expected[reader]
	}
	_, open := p.all[reader]
	return open
}

// begin records the position of a reader when it is first opened, as reported by the server.
func (p *places) begin(reader string, told uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all = map[string]uint64{}
	}
	if _, ok := p.all[reader]; !ok {
		p.all[reader] = told
	}
}

// reach records that a reader has acknowledged everything up to seq.
func (p *places) reach(reader string, seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at, ok := p.all[reader]; ok { // otherwise it was removed meanwhile
		p.all[reader] = max(at, seq)
	}
}

func (p *places) forget(reader string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, reader)
}

// at returns the position of a reader that was opened and not removed since.
func (p *places) at(reader string) (seq uint64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	seq, ok = p.all[reader]
	return seq, ok
}

// floor returns the sequence up to which a reader has acknowledged; for a reader that was not
// opened, told, the server's value.
func (p *places) floor(reader string, told uint64) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if seq, ok := p.all[reader]; ok {
		return seq
	}
	return told
}
