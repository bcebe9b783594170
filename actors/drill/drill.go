// Package drill is the actor kind through which operators and tests inject faults into a running
// gateway. It only checks that drills are armed and asks the root; the faults themselves are in
// packages actors and supervisor.
package drill

import (
	"errors"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/actors"
	drillv1 "gatewayd/schemas/drill/v1"
)

// Kind is the actor kind drill.
var Kind = actors.Define(actors.Kind{
	Name:      "drill",
	Doc:       "Injects faults into actors and groups on request, when armed.",
	Services:  []protoreflect.ServiceDescriptor{actors.Service(drillv1.File_drill_v1_drill_proto, "DrillService")},
	Publishes: []actors.Leaf{{Class: "event", Leaf: "injected", Message: &drillv1.Injected{}}},
	Live:      true,
}, func(cfg *drillv1.Drill) actors.Actor { return &drill{cfg} })

const (
	root     = "root"
	patience = 30 * time.Second // a power cycle is answered when it has begun
)

var errNotArmed = errors.New(`drills are not armed: the config needs a table [drill] with kind = "drill" and armed = true`)

type drill struct{ cfg *drillv1.Drill }

func (d *drill) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case actors.Started:
		c.OK()
	case actors.Reconfigured:
		d.disarm(c, m.Config.(*drillv1.Drill))
	case *drillv1.InjectRequest:
		if !d.cfg.Armed {
			c.Refuse(errNotArmed)
			return nil
		}
		c.Ask(root, m, patience)
	case *drillv1.InjectResponse:
		if fault, ok := c.Request().Message().(*drillv1.InjectRequest); ok {
			c.Log().Warn("fault injected", "path", fault.Path, "fault", fault.Fault)
			c.Event("injected", &drillv1.Injected{Fault: fault})
		}
		c.Reply(m)
	case *drillv1.ClearRequest: // always allowed, because it only removes faults
		c.Ask(root, m, patience)
	case *drillv1.ClearResponse:
		c.Reply(m)
	case actors.Failed:
		c.Refuse(m.Err)
	}
	return nil
}

// disarm applies a new config; disarming removes all faults.
func (d *drill) disarm(c *actors.Context, next *drillv1.Drill) {
	if d.cfg.Armed && !next.Armed {
		c.Tell(root, &drillv1.ClearRequest{})
	}
	d.cfg = next
}
