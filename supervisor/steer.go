package supervisor

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/bus"
	"gatewayd/schemas"
	actorv1 "gatewayd/schemas/actor/v1"
	configv1 "gatewayd/schemas/config/v1"
	drillv1 "gatewayd/schemas/drill/v1"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	"gatewayd/supervisor/config"
	"gatewayd/supervisor/ladder"
	"gatewayd/supervisor/power"
)

// serve answers requests that peers send to a group by name.
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
		*configv1.HistoryRequest, *configv1.RollbackRequest, *configv1.KeepRequest:
		g.serveConfig(r)
	default:
		r.Refuse(bus.Errorf(bus.Unimplemented, "%s does not answer %T", g.path, m))
	}
}

// inject applies a fault of a drill.
func (g *group) inject(r *actors.Request, m *drillv1.InjectRequest) {
	cell := g.t.sys.Lookup(m.Path)
	if cell == nil {
		r.Refuse(bus.Errorf(bus.NotFound, "no actor has the path %q%s", m.Path, schemas.DidYouMeanPath(m.Path, g.t.sys.Paths())))
		return
	}
	if m.Fault == "starve" {
		if held := g.t.opts.Held; held != nil && held() > 0 {
			r.Refuse(bus.Errorf(bus.FailedPrecondition, "the watchdog has recently restarted the gateway and is held back for another %s", held().Round(time.Second)))
			return
		}
		g.t.opts.Starve(m.Path, "starved by a drill")
		r.Reply(&drillv1.InjectResponse{})
		return
	}
	switch {
	case m.Fault == "power":
		err := cell.Steer(actors.NewRequest(&actorv1.CycleRequest{}, func(_ any, err error) { answer(r, &drillv1.InjectResponse{}, err) }))
		if err != nil {
			r.Refuse(err)
		}
	case cell.Kind().Name == groupKind.Name:
		r.Refuse(bus.Errorf(bus.InvalidArgument, "%s is a group: name one of its actors", m.Path))
	default:
		cell.Drill(m.Fault, m.GetRate(), m.Duration.AsDuration(), func(err error) { answer(r, &drillv1.InjectResponse{}, err) })
	}
}

func answer(r *actors.Request, msg any, err error) {
	if err != nil {
		r.Refuse(err)
		return
	}
	r.Reply(msg)
}

// fetched is a Steer whose files have been read outside the mailbox.
type fetched struct {
	actors.Steer
	load schemas.Load
}

// steer does what only a supervisor can do to a child, or to itself. load holds the contents of the
// files that the new config of a child names; nil: they have not been read yet.
func (g *group) steer(s actors.Steer, load schemas.Load) {
	r := s.Request
	c := g.child(s.Path)
	switch {
	case g.ending:
		r.Refuse(bus.Errorf(bus.Unavailable, "%s is stopping", g.path))
		return
	case s.Path == g.path:
		g.steerSelf(s)
		return
	case c == nil || c.leaving:
		r.Refuse(bus.Errorf(bus.NotFound, "%s is not in %s any more", s.Path, g.path))
		return
	}
	switch m := r.Message().(type) {
	case *actorv1.RestartRequest:
		g.restart(c)
		r.Reply(&actorv1.RestartResponse{})
	case *actorv1.CycleRequest:
		g.steerCycle(r, s.Path, g.implicated(c, actors.LevelCycle))
	case *actorv1.UpdateConfigRequest:
		g.updateConfig(c, s, m, load)
	default:
		r.Refuse(bus.Errorf(bus.Unimplemented, "%s does not answer %T", g.path, m))
	}
}

// updateConfig changes some fields of a child's config.
func (g *group) updateConfig(c *child, s actors.Steer, m *actorv1.UpdateConfigRequest, load schemas.Load) {
	kind, old := c.cell.Kind(), g.t.writtenAt(c.path, c.cell.Config())
	if kind.Complete != nil && load == nil {
		load = config.Loader(g.t.file())
		g.aside(func() any {
			_ = guarded(context.Background(), func(context.Context) error {
				_, err := merged(kind, old, m, load)
				return err
			})
			return fetched{s, load}
		})
		return
	}
	u, err := merged(kind, old, m, load)
	if err == nil {
		err = g.t.beside(c.path, u.config)
	}
	if err != nil {
		s.Request.Refuse(err)
		return
	}
	g.t.update(c.path, u)
	s.Request.Reply(&actorv1.UpdateConfigResponse{Live: g.reconfigure(c, u.config)})
}

func (g *group) steerSelf(s actors.Steer) {
	switch m := s.Request.Message().(type) {
	case *actorv1.CycleRequest:
		g.steerCycle(s.Request, g.path, g.owners())
	case *actorv1.UpdateConfigRequest:
		u, err := merged(g.cell.Kind(), g.cell.Config(), m, nil)
		if err == nil {
			g.t.update(g.path, u)
			g.cell.SetConfig(u.config)
			g.configure(u.config)
		}
		answer(s.Request, &actorv1.UpdateConfigResponse{Live: true}, err)
	case *actorv1.RestartRequest:
		if g.path != Root {
			g.pc.Send(g.pc.Parent(), s) // only the group above can do that
			return
		}
		if g.phase != draining {
			g.drain(g.startAll)
		}
		s.Request.Reply(&actorv1.RestartResponse{})
	default:
		s.Request.Refuse(bus.Errorf(bus.Unimplemented, "%s does not answer %T", g.path, m))
	}
}

// steerCycle cycles the power that path depends on.
func (g *group) steerCycle(r *actors.Request, path string, owners []*child) {
	switch {
	case len(owners) == 0:
		r.Refuse(bus.Errorf(bus.FailedPrecondition, "%s has no power to cycle: name an actor that holds a port or a server, one that depends on it in the same group, or that group", path))
		return
	case g.phase == draining:
		r.Refuse(bus.Errorf(bus.Unavailable, "%s is stopping its children", g.path))
		return
	}
	for _, owner := range owners {
		g.step(owner, power.Requested)
	}
	r.Reply(&actorv1.CycleResponse{})
}

// restart gives a child a new life on request. It uses no budget, ends a quarantine, and cancels a
// requested cycle that has not started.
func (g *group) restart(c *child) {
	delete(g.rec.children, c.path)
	if g.phase == draining || c.leaving || c.state == stopping || g.inCycle(c) {
		return
	}
	g.revive(c)
	if s, _ := g.t.powerState(c.path); s.Phase == power.On && s.Wanted {
		s.Wanted = false
		g.t.setPower(c.path, s)
		g.endCycle(c, c)
	}
}

// reconfigure gives a child another config, in its present life if its kind supports that.
func (g *group) reconfigure(c *child, next proto.Message) (live bool) {
	delete(g.rec.children, c.path) // another config deserves another chance
	if c.cell.Kind().Live && c.state == up {
		c.cell.Reconfigure(next)
		return true
	}
	c.cell.SetConfig(next)
	g.restart(c)
	return false
}

// merged returns a config with some fields changed, and checks it. old excludes what the files that
// it names have contributed; load provides the contents of the files that the new config names.
func merged(kind *actors.Kind, old proto.Message, m *actorv1.UpdateConfigRequest, load schemas.Load) (u update, err error) {
	written, err := patched(old, m)
	if err != nil {
		return u, err
	}
	next, bad := written, []schemas.Violation(nil)
	if kind != nil && kind.Complete != nil {
		next = proto.Clone(written)
		bad = kind.Complete(next, load)
	}
	if len(bad) == 0 {
		bad = schemas.Check(next)
	}
	if len(bad) == 0 && kind != nil && kind.Check != nil {
		bad = kind.Check(next)
	}
	if len(bad) > 0 {
		return u, bus.Errorf(bus.InvalidArgument, "%s", bad[0].Error())
	}
	if s := groupSettings(next); s != nil {
		if _, err := ladder.Parse(s.Ladder); err != nil {
			return u, bus.Errorf(bus.InvalidArgument, "ladder: %s", err)
		}
	}
	if was, ok := old.(*gatewayv1.Gateway); ok && was.Gateway != next.(*gatewayv1.Gateway).Gateway {
		return u, bus.Errorf(bus.FailedPrecondition, renamed)
	}
	return update{written, next}, nil
}

// patched returns a config with some fields changed.
func patched(old proto.Message, m *actorv1.UpdateConfigRequest) (proto.Message, error) {
	patch := m.Config
	if m.Toml != "" {
		read, problems := config.Patch([]byte(m.Toml))
		if len(problems) > 0 {
			return nil, bus.Errorf(bus.InvalidArgument, "%s", problems.Format())
		}
		patch = read
	}
	if (m.Toml == "") == (m.Config == nil) || len(patch.GetFields()) == 0 {
		return nil, bus.Errorf(bus.InvalidArgument, "set either config or toml, with the keys to change")
	}
	next := proto.Clone(old)
	if err := schemas.Merge(next, patch); err != nil {
		return nil, bus.Errorf(bus.InvalidArgument, "%s", err)
	}
	return next, nil
}
