package supervisor

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/bus"
	"gatewayd/schemas"
	actorv1 "gatewayd/schemas/actor/v1"
	configv1 "gatewayd/schemas/config/v1"
	drillv1 "gatewayd/schemas/drill/v1"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	"gatewayd/supervisor/power"
)

// rootSettings are what the root takes from the top of the file; the rest it
// has like any group.
func rootSettings(c *gatewayv1.Gateway) *gatewayv1.Group {
	s := &gatewayv1.Group{Ladder: c.Ladder}
	schemas.Defaults(s)
	s.Quarantine = durationpb.New(time.Minute)
	return s
}

// serve answers what peers ask a group by name.
func (g *group) serve(r *actors.Request) {
	switch m := r.Message().(type) {
	case *drillv1.InjectRequest:
		g.inject(r, m)
	case *drillv1.ClearRequest:
		for _, c := range g.t.sys.Cells() {
			if m.Path == "" || m.Path == c.Path() {
				c.ClearDrill()
			}
		}
		r.Reply(&drillv1.ClearResponse{})
	case *configv1.GetRequest, *configv1.CheckRequest, *configv1.ApplyRequest, *configv1.ReloadRequest,
		*configv1.HistoryRequest, *configv1.RollbackRequest:
		g.serveConfig(r)
	default:
		r.Refuse(bus.Errorf(bus.Unimplemented, "%s does not answer %T", g.path, m))
	}
}

// inject puts a fault of a drill in.
func (g *group) inject(r *actors.Request, m *drillv1.InjectRequest) {
	switch m.Fault {
	case "starve":
		g.t.opts.Starve(m.Path, "starved by a drill")
		r.Reply(&drillv1.InjectResponse{})
		return
	case "power":
		g.t.steer(actors.Steer{Path: m.Path, Request: actors.NewRequest(&actorv1.CycleRequest{}, func(_ any, err error) {
			answer(r, &drillv1.InjectResponse{}, err)
		})})
		return
	}
	cell := g.t.sys.Lookup(m.Path)
	switch {
	case cell == nil:
		r.Refuse(bus.Errorf(bus.NotFound, "no actor is called %q%s", m.Path, schemas.DidYouMean(m.Path, g.t.sys.Paths())))
	case cell.Kind().Name == groupKind.Name:
		r.Refuse(bus.Errorf(bus.InvalidArgument, "%s is a group: name one of its actors", m.Path))
	default:
		cell.Drill(m.Fault, m.Rate, m.Duration.AsDuration(), func(err error) { answer(r, &drillv1.InjectResponse{}, err) })
	}
}

func answer(r *actors.Request, msg any, err error) {
	if err != nil {
		r.Refuse(err)
		return
	}
	r.Reply(msg)
}

// steer sends s to the group that can do it.
func (t *Tree) steer(s actors.Steer) {
	group := parent(s.Path)
	if c := t.sys.Lookup(s.Path); c != nil && c.Kind().Name == groupKind.Name {
		group = s.Path
	}
	cell := t.sys.Lookup(group)
	if cell == nil || cell.PID() == nil {
		s.Request.Refuse(bus.Errorf(bus.NotFound, "no actor is called %q%s", s.Path, schemas.DidYouMean(s.Path, t.sys.Paths())))
		return
	}
	t.sys.Runtime().Root.Send(cell.PID(), s)
}

// steer does what only a supervisor can do to a child, or to itself.
func (g *group) steer(s actors.Steer) {
	r := s.Request
	if s.Path == g.path {
		g.steerSelf(s)
		return
	}
	c := g.child(s.Path)
	if c == nil {
		r.Refuse(bus.Errorf(bus.NotFound, "%s is not in %s any more", s.Path, g.path))
		return
	}
	switch m := r.Message().(type) {
	case *actorv1.RestartRequest:
		g.restart(c)
		r.Reply(&actorv1.RestartResponse{})
	case *actorv1.CycleRequest:
		g.steerCycle(r, g.cycledWith(c))
	case *actorv1.UpdateConfigRequest:
		live, err := g.update(c, m)
		answer(r, &actorv1.UpdateConfigResponse{Live: live}, err)
	}
}

func (g *group) steerSelf(s actors.Steer) {
	switch m := s.Request.Message().(type) {
	case *actorv1.CycleRequest:
		g.steerCycle(s.Request, g.owners())
	case *actorv1.UpdateConfigRequest:
		next, err := merged(g.cell.Config(), m)
		if err == nil {
			g.cell.SetConfig(next)
			g.configure(next)
		}
		answer(s.Request, &actorv1.UpdateConfigResponse{Live: true}, err)
	case *actorv1.RestartRequest:
		if g.path != Root {
			g.pc.Send(g.pc.Parent(), s) // only the one above can
			return
		}
		g.drain(g.startAll)
		s.Request.Reply(&actorv1.RestartResponse{})
	}
}

// cycledWith lists whose power has to be cycled for c.
func (g *group) cycledWith(c *child) []*child { return g.implicated(c, actors.LevelCycle) }

func (g *group) steerCycle(r *actors.Request, owners []*child) {
	if len(owners) == 0 {
		r.Refuse(bus.Errorf(bus.FailedPrecondition, "nothing here can be power-cycled"))
		return
	}
	for _, owner := range owners {
		g.step(owner, power.Requested)
	}
	r.Reply(&actorv1.CycleResponse{})
}

func (g *group) child(path string) *child {
	for _, c := range g.children {
		if c.path == path {
			return c
		}
	}
	return nil
}

// restart gives a child a new life because somebody wants it: it costs no
// budget, and ends quarantine.
func (g *group) restart(c *child) {
	delete(g.rec.children, c.path)
	switch {
	case g.phase == draining, c.state == stopping, g.isDark(c):
	case c.pid == nil, c.node.Kind == "":
		g.revive(c)
	default:
		c.cell.Open()
		g.enter(c, up)
		g.pc.(actor.Supervisor).RestartChildren(c.pid)
	}
}

// update changes some fields of a child's config.
func (g *group) update(c *child, m *actorv1.UpdateConfigRequest) (live bool, err error) {
	next, err := merged(c.cell.Config(), m)
	if err != nil {
		return false, err
	}
	return g.reconfigure(c, next), nil
}

// reconfigure gives a child another config, in its present life if it can.
func (g *group) reconfigure(c *child, next proto.Message) (live bool) {
	if c.cell.Kind().Live && c.state == up {
		c.cell.Reconfigure(next)
		return true
	}
	c.cell.SetConfig(next)
	g.restart(c)
	return false
}

// merged is a config with some fields changed and checked.
func merged(old proto.Message, m *actorv1.UpdateConfigRequest) (proto.Message, error) {
	next := proto.Clone(old)
	if err := schemas.Merge(next, m.Config); err != nil {
		return nil, bus.Errorf(bus.InvalidArgument, "%s", err)
	}
	if bad := schemas.Check(next); len(bad) > 0 {
		return nil, bus.Errorf(bus.InvalidArgument, "%s", bad[0].Error())
	}
	return next, nil
}
