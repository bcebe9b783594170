package watchdog

import (
	"context"
	"fmt"
	"time"
)

// maxAbandoned bounds the number of abandoned probes. A probe that ignores its context is stuck in
// a system call or on a lock; starting more of them would not help.
const maxAbandoned = 3

// answer is the result of one probe; generation identifies late ones.
type answer struct {
	generation uint64
	evidence   Evidence
	err        error
}

// prober runs one probe at a time outside the keeper's goroutine.
type prober struct {
	probe      Probe
	answers    chan answer
	done       chan struct{}
	asking     bool
	running    bool // the pending probe has a goroutine
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

// stop abandons all probes; one that hangs ends when its call returns.
func (p *prober) stop() {
	p.cancel()
	close(p.done)
}

// start starts a probe, unless too many probes are stuck; then the pending one just becomes late
// again.
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

// guarded turns a panic of the probe into an error: it must not bring down the watchdog.
func guarded(ctx context.Context, probe Probe) (e Evidence, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the probe panicked: %v", r)
		}
	}()
	return probe(ctx)
}

// late reports whether the pending probe is older than patience.
func (p *prober) late(patience time.Duration) bool {
	return p.asking && time.Since(p.asked) >= patience
}

// give abandons the pending probe and returns what is missing.
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

// judge turns an answer into an event; nil for an answer of an abandoned probe.
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
