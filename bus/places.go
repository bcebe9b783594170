package bus

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// places are how far readers are that were opened in this process, by name. The server's own word on it counts what has been delivered and then
// dropped from the stream as acknowledged.
type places struct {
	making sync.RWMutex // read while one is opened or made anew, held while others are given up: what is given up does not come back

	mu       sync.Mutex
	all      map[string]uint64
	expected map[string]bool // readers there are, those that were opened since as well; nil: nobody has said
	others   bool            // the places of others are to be given up
}

// Expect says which readers there are, by the paths of their actors: what they have not read is unread before they open their places as well, and
// places of others count for nothing.
func (b *Bus) Expect(readers []string) {
	p := &b.places
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected = map[string]bool{}
	for _, path := range readers {
		p.expected[readerName(path)] = true
	}
}

// ForgetOthers has the places given up of all readers that are not expected, but for those of what they have written themselves. Canary does it, and goes on until it is done.
func (b *Bus) ForgetOthers() {
	b.places.mu.Lock()
	defer b.places.mu.Unlock()
	b.places.others = true
}

// sweep gives up the places of readers that are not expected, if that is wanted.
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
			b.log.Info("the place in the tracks is given up of what is not in the config any more", "reader", pathOf(name))
		} else if !errors.Is(err, jetstream.ErrConsumerNotFound) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// outbox says whether a reader reads what it has written itself, and nothing else. Its place tells what of that has gone out: without it all of that would go
// again when it comes back.
func (b *Bus) outbox(info *jetstream.ConsumerInfo) bool {
	own, err := trackPattern(b.cfg.Gateway, pathOf(info.Name))
	read := append(slices.Clone(info.Config.FilterSubjects), info.Config.FilterSubject)
	return err == nil && slices.Contains(read, own) && !slices.ContainsFunc(read, func(p string) bool { return p != own && p != "" })
}

// expect notes that there is a reader, whose place is being opened.
func (p *places) expect(reader string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.expected != nil {
		p.expected[reader] = true
	}
}

// reads says whether there is a reader of that name. While nobody has said which there are, it is one that was opened in this process.
func (p *places) reads(reader string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.expected != nil {
		return p.expected[reader]
	}
	_, open := p.all[reader]
	return open
}

// begin notes how far a reader is when it is opened first, as the server says.
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

// reach notes that a reader has acknowledged all up to a sequence.
func (p *places) reach(reader string, seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at, ok := p.all[reader]; ok { // else it was forgotten meanwhile
		p.all[reader] = max(at, seq)
	}
}

func (p *places) forget(reader string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, reader)
}

// at is how far a reader is that was opened, and not given up since.
func (p *places) at(reader string) (seq uint64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	seq, ok = p.all[reader]
	return seq, ok
}

// floor is up to where a reader has acknowledged; of one that was not opened, what the server says.
func (p *places) floor(reader string, told uint64) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if seq, ok := p.all[reader]; ok {
		return seq
	}
	return told
}
