package bus

import "sync"

// places are how far readers are that were opened in this process, by name. The server's own word on it counts what has been delivered and then
// dropped from the stream as acknowledged.
type places struct {
	making sync.Mutex // while one is made anew or given up: what is given up does not come back

	mu  sync.Mutex
	all map[string]uint64
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
