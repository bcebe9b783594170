package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	gatewayv1 "gatewayd/schemas/gateway/v1"
	"gatewayd/supervisor/config"
	"gatewayd/supervisor/watchdog"
)

// worked returns how long ago any actor below last proved that it works.
func (g *group) worked() (ago time.Duration, ok bool) {
	walk(g.t.current(g.node), func(n *config.Node) {
		if n.Kind == "" {
			return
		}
		cell := g.t.sys.Lookup(n.Path)
		if cell == nil {
			return
		}
		if d, has := cell.Worked(); has && (!ok || d < ago) {
			ago, ok = d, true
		}
	})
	return ago, ok
}

// attest asks a group for proof that it works.
type attest struct{ to chan<- proof }

type proof struct {
	path string
	ago  time.Duration
	why  string // what is missing; "" if the proof is good
}

func (g *group) attest() proof {
	p := proof{path: g.path}
	if g.silence > 0 {
		ago, ok := g.worked()
		switch {
		case !ok:
			p.why = "no actor in it has proved yet that it works"
		case ago > g.silence:
			p.why = fmt.Sprintf("no actor in it has proved that it works for %s", ago.Round(time.Second))
		default:
			p.ago = ago
		}
	}
	return p
}

// Evidence collects proof of work from the root and from all critical groups, through their
// mailboxes. The watchdog is petted only on this evidence.
func (t *Tree) Evidence(ctx context.Context) (watchdog.Evidence, error) {
	paths, err := t.critical()
	if err != nil {
		return watchdog.Evidence{}, err
	}
	proofs := make(chan proof, len(paths))
	waiting := map[string]bool{}
	var e watchdog.Evidence
	for _, p := range paths {
		cell := t.sys.Lookup(p)
		if cell == nil || cell.PID() == nil {
			e.Missing = append(e.Missing, watchdog.Missing{Path: p, Reason: "it has not started"})
			continue
		}
		waiting[p] = true
		t.sys.Runtime().Root.Send(cell.PID(), attest{proofs})
	}
	for len(waiting) > 0 {
		select {
		case p := <-proofs:
			delete(waiting, p.path)
			if p.why != "" {
				e.Missing = append(e.Missing, watchdog.Missing{Path: p.path, Reason: p.why})
				continue
			}
			e.Alive++
			e.Age = max(e.Age, p.ago)
		case <-ctx.Done():
			for p := range waiting {
				e.Missing = append(e.Missing, watchdog.Missing{Path: p, Reason: "its mailbox is not served"})
			}
			return e, nil
		}
	}
	return e, nil
}

// critical returns the paths that must give proof: the root, and every critical group.
func (t *Tree) critical() ([]string, error) {
	cfg := t.Config()
	if cfg == nil {
		return nil, errors.New("the tree has not started")
	}
	paths := []string{Root}
	cfg.Walk(func(n *config.Node) {
		c, ok := t.configOf(n).(*gatewayv1.Group)
		if ok && n.Kind == "" && c.Critical && !t.opts.SafeMode {
			paths = append(paths, n.Path)
		}
	})
	return paths, nil
}
