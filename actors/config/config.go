// Package config is the actor kind through which the gateway's config is read, checked and changed
// at run time. It knows neither files nor the tree: it asks the root, which has both.
package config

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/actors"
	configv1 "gatewayd/schemas/config/v1"
)

// Kind is the actor kind config.
var Kind = actors.Define(actors.Kind{
	Name:     "config",
	Doc:      "Reads, checks and changes the gateway's config while it runs.",
	Services: []protoreflect.ServiceDescriptor{actors.Service(configv1.File_config_v1_config_proto, "ConfigService")},
	Publishes: []actors.Leaf{
		{Class: "event", Leaf: "applied", Message: &configv1.Applied{}},
		{Class: "event", Leaf: "rejected", Message: &configv1.Rejected{}},
		{Class: "event", Leaf: "rolled-back", Message: &configv1.RolledBack{}},
	},
	Live: true, // the root reads the budget whenever it judges a change
}, func(*configv1.Config) actors.Actor { return &config{} })

const (
	root = "root"
	// patience covers stopping everything that a change stops, one actor after the other.
	patience = 2 * time.Minute
	// keepAgain is the pause before a failed write is tried again.
	keepAgain = 5 * time.Second
)

type config struct {
	again *actors.Timer // runs while something is to be written
}

// again is the tick for another attempt to write the config to disk.
type again struct{}

func (d *config) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case actors.Started:
		c.OK()
		c.Ask(root, &configv1.KeepRequest{}, patience)
	case again:
		d.again = nil
		c.Ask(root, &configv1.KeepRequest{}, patience)
	case *configv1.GetRequest, *configv1.CheckRequest, *configv1.ApplyRequest, *configv1.ReloadRequest,
		*configv1.HistoryRequest, *configv1.RollbackRequest, *configv1.KeepRequest:
		c.Ask(root, m, patience)
	case *configv1.ApplyResponse:
		tell(c, m.Version, m.Changes, m.Problems)
		d.judge(c, m.Unkept)
		c.Reply(m)
	case *configv1.ReloadResponse:
		tell(c, m.Version, m.Changes, m.Problems)
		d.judge(c, m.Unkept)
		c.Reply(m)
	case *configv1.RollbackResponse:
		tell(c, m.Version, m.Changes, nil)
		d.judge(c, m.Unkept)
		c.Reply(m)
	case *configv1.KeepResponse:
		d.judge(c, m.Unkept)
		if c.Request() != nil {
			c.Reply(m)
		}
	case *configv1.GetResponse, *configv1.CheckResponse, *configv1.HistoryResponse:
		c.Reply(m.(proto.Message))
	case actors.Failed:
		if c.Request() == nil { // the actor's own request
			if code, _ := actors.Explain(m.Err); code == actors.Aborted {
				d.later(c)
			}
			return nil
		}
		if _, ok := c.Request().Message().(*configv1.ReloadRequest); ok {
			c.Event("rejected", &configv1.Rejected{Problems: []*configv1.Problem{{Message: m.Err.Error()}}})
		}
		c.Refuse(m.Err)
	}
	return nil
}

// judge reports whether the config in force would survive a power cut.
func (d *config) judge(c *actors.Context, unkept string) {
	if unkept == "" {
		c.OK()
		return
	}
	c.Degraded("the config is in force, but not saved: " + unkept)
	d.later(c)
}

func (d *config) later(c *actors.Context) {
	if d.again == nil {
		d.again = c.After(keepAgain, again{})
	}
}

// tell publishes the outcome of a change.
func tell(c *actors.Context, version uint64, changes []*configv1.Change, problems []*configv1.Problem) {
	if len(problems) > 0 {
		c.Event("rejected", &configv1.Rejected{Problems: problems})
		return
	}
	c.Event("applied", &configv1.Applied{Version: version, Changes: changes})
}
