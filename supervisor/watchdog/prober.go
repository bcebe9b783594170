package watchdog

import (
	"context"
	"fmt"
	"time"
)

// maxAbandoned bounds the probes left behind. A probe that ignores its context
// is stuck in a system call or on a lock; more of them would add nothing.
const maxAbandoned = 3

// answer is what one probe brought; generation tells a late one apart.
type answer struct {
	generation uint64
	evidence   Evidence
	err        error
}

// prober runs one probe at a time off the keeper's goroutine.
type prober struct {
	probe      Probe
	answers    chan answer
	done       chan struct{}
	asking     bool
	running    bool // the open question has a goroutine
	generation uint64
	asked      time.Time
	cancel     context.CancelFunc
	abandoned  int
}

func newProber(p Probe) *prober {
	return &prober{
		probe: p, answers: make(chan answer), done: make(chan struct{}), cancel: func() {},
	}
}

// stop lets go of every probe; one that hangs ends when its call returns.
func (p *prober) stop() {
	p.cancel()
	close(p.done)
}

// start asks, unless too many probes are stuck; then the open question just
// goes on and will be late again.
func (p *prober) start(ctx context.Context, patience time.Duration) {
	p.asking, p.asked = true, time.Now()
	p.generation++
	p.running = p.abandoned < maxAbandoned
	if !p.running {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	p.cancel = cancel
	g := p.generation
	go func() {
		defer cancel()
		a := answer{generation: g}
		a.evidence, a.err = guarded(ctx, p.probe)
		select {
		case p.answers <- a:
		case <-p.done:
		}
	}()
}

// guarded turns a panic of the probe into an error: the last rung must not die
// of the first.
func guarded(ctx context.Context, probe Probe) (e Evidence, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the probe panicked: %v", r)
		}
	}()
	return probe(ctx)
}

// late reports an open question older than patience.
func (p *prober) late(patience time.Duration) bool {
	return p.asking && time.Since(p.asked) >= patience
}

// give gives the open question up and says what is missing.
func (p *prober) give() []Missing {
	p.cancel()
	p.asking = false
	reason := fmt.Sprintf("the probe has not answered for %s", time.Since(p.asked).Round(time.Millisecond))
	if p.running {
		p.abandoned++
	} else {
		reason = fmt.Sprintf("%d probes are stuck", p.abandoned)
	}
	return []Missing{{keeperPath, reason}}
}

// judge turns an answer into an event; nil for one that was given up before.
func (p *prober) judge(a answer) any {
	if a.generation != p.generation || !p.asking {
		p.abandoned--
		return nil
	}
	p.asking = false
	if a.err != nil && len(a.evidence.Missing) == 0 {
		return silence{[]Missing{{keeperPath, "the probe failed: " + a.err.Error()}}}
	}
	if a.err != nil {
		return silence{a.evidence.Missing}
	}
	return proof{a.evidence}
}
