package supervisor

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/schemas"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	"gatewayd/supervisor/config"
	"gatewayd/supervisor/ladder"
)

// configure applies the settings. A changed ladder clears all histories.
func (g *group) configure(settings proto.Message) {
	c := groupSettings(settings)
	if c == nil {
		return
	}
	if g.words != nil && !slices.Equal(g.words, c.Ladder) {
		clear(g.rec.children)
		clear(g.rec.cycles)
	}
	g.words = append([]string{}, c.Ladder...)
	g.ladder = parseLadder(c)
	g.actors = g.ladder
	if g.path == Root { // the root's own ladder is for groups that have given up
		g.actors = defaultLadder()
	}
	g.probe, g.stop, g.silence = c.Probe.AsDuration(), c.Stop.AsDuration(), c.Silence.AsDuration()
	g.power = c.Power
}

// groupSettings returns the settings of a group, or of the root, which takes its ladder from the
// top level of the file and the group defaults for the rest.
func groupSettings(m proto.Message) *gatewayv1.Group {
	switch c := m.(type) {
	case *gatewayv1.Group:
		return c
	case *gatewayv1.Gateway:
		s := &gatewayv1.Group{Ladder: c.Ladder}
		schemas.Defaults(s)
		s.Quarantine = durationpb.New(time.Minute)
		return s
	}
	return nil
}

func parseLadder(c *gatewayv1.Group) ladder.Ladder {
	l, err := ladder.Parse(c.Ladder)
	if err != nil { // the config check rejects such a ladder
		l = ladder.Ladder{End: ladder.Escalate}
	}
	l.Backoff, l.MaxBackoff, l.Quarantine = c.Backoff.AsDuration(), c.MaxBackoff.AsDuration(), c.Quarantine.AsDuration()
	return l
}

// defaultLadder returns the ladder of a group without settings.
func defaultLadder() ladder.Ladder {
	c := &gatewayv1.Group{}
	schemas.Defaults(c)
	c.Quarantine = durationpb.New(time.Minute)
	return parseLadder(c)
}

// patience returns how long node n may take to stop: its own stop timeout, and for a group also
// those of everything below it.
func (t *Tree) patience(n *config.Node, stop time.Duration) time.Duration {
	n = t.current(n)
	d := stop
	if s := groupSettings(t.configOf(n)); s != nil && n.Kind == "" {
		for _, below := range n.Children {
			d += t.patience(below, s.Stop.AsDuration())
		}
	}
	return d
}
