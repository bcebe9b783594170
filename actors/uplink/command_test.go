package uplink_test

import (
	"context"
	"strings"
	"testing"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/bus"
	far "gatewayd/protocols/uplink"
	"gatewayd/schemas"
	accessv1 "gatewayd/schemas/access/v1"
	uplinkv1 "gatewayd/schemas/uplink/v1"

	"gatewayd/actors/actorstest/uplinktest"
	"gatewayd/actors/uplink"
)

// outcome is the answer the far end gets to a command.
type outcome struct {
	payload string
	err     error
}

func TestCommands(t *testing.T) {
	r := actorstest.New(t)
	f := &cloud{}
	k := uplink.Define(actors.Kind{Name: "uplink-test", Doc: "is for tests"}, func(uplink.Instance, *uplinkv1.UplinkMqtt) (uplink.Far, error) {
		return uplink.Far{Where: "test://cloud", Dial: func(_ context.Context, hear far.Callbacks) (far.Sender, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.hear, f.dials = hear, f.dials+1
			return sender{f}, nil
		}}, nil
	})
	told := actorstest.Watch(r, "event/"+path+"/commanded", &uplinkv1.Commanded{})
	r.Start(path, k, &uplinkv1.UplinkMqtt{Send: config().Send, Commands: &uplinkv1.Commands{Allow: []string{"cmd/uplinks/+/Status", "cmd/nobody/Do"}}})
	r.Until("it is connected", func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.dials == 1 })
	ask := func(actor, method string) outcome {
		got := make(chan outcome, 2)
		f.hear.Command(far.Command{Actor: actor, Method: method, Answer: func(p []byte, err error) { got <- outcome{string(p), err} }})
		o := actorstest.Next(t, got)
		if len(got) != 0 {
			t.Error("answered twice")
		}
		return o
	}
	if o := ask(path, "Status"); o.err != nil || !strings.Contains(o.payload, "test://cloud") {
		t.Errorf("%v", o)
	}
	if m := actorstest.Next(t, told); m.Command != "cmd/uplinks/cloud/Status" || m.Error != "" || !m.Asked {
		t.Errorf("%v", m)
	}
	for _, x := range [][2]string{{path, "Restart"}, {"a/+", "Status"}, {"uplinks/../x", "Status"}} {
		if o := ask(x[0], x[1]); o.err == nil || bus.AsError(o.err).Code != bus.PermissionDenied {
			t.Errorf("%v: %v", x, o)
		}
		if m := actorstest.Next(t, told); m.Error == "" || m.Asked {
			t.Errorf("%v", m)
		}
	}
	if o := ask("nobody", "Do"); o.err == nil {
		t.Errorf("%v", o)
	}
	if s := uplinktest.Status(t, r, path); s.Counts.Commands != 1 || s.Counts.Refused != 4 {
		t.Errorf("%v", s.Counts)
	}
}

// Commands on behalf of a user are judged like calls of that user: what the roles do not allow is
// refused, even if the list allows it.
func TestCommandsOfAUser(t *testing.T) {
	r := actorstest.New(t)
	f := &cloud{}
	k := uplink.Define(actors.Kind{Name: "uplink-test", Doc: "is for tests"}, func(uplink.Instance, *uplinkv1.UplinkMqtt) (uplink.Far, error) {
		return uplink.Far{Where: "test://cloud", Dial: func(_ context.Context, hear far.Callbacks) (far.Sender, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.hear, f.dials = hear, f.dials+1
			return sender{f}, nil
		}}, nil
	})
	judge := actors.Define(actors.Kind{Name: "judge", Doc: "is for tests"}, func(*uplinkv1.Commands) actors.Actor { return judgeOf{} })
	keeper := r.Start("access", judge, &uplinkv1.Commands{})
	told := actorstest.Watch(r, "event/"+path+"/commanded", &uplinkv1.Commanded{})
	cfg := &uplinkv1.UplinkMqtt{Send: config().Send, Commands: &uplinkv1.Commands{Allow: []string{"cmd/uplinks/+/+"}, User: "cloud"}}
	r.Start(path, k, cfg)
	r.Until("it is connected, and judged", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.dials == 1 && keeper.State() == actors.OK
	})
	for method, allowed := range map[string]bool{"Status": true, "Restart": false} {
		got := make(chan error, 1)
		f.hear.Command(far.Command{Actor: path, Method: method, Answer: func(_ []byte, err error) { got <- err }})
		if err := actorstest.Next(t, got); (err == nil) != allowed {
			t.Errorf("%s: %v", method, err)
		}
		if m := actorstest.Next(t, told); m.Caller != "user/cloud" || m.Trace == "" || (m.Error == "") != allowed {
			t.Errorf("%v", m)
		}
	}

	found := k.Beside([]schemas.Actor{{Path: path, Config: cfg}, {Path: "access", Config: &accessv1.Access{Identities: []*accessv1.Identity{{Name: "clouds"}}}}})
	if len(found) != 1 || !strings.Contains(found[0].Message, `unknown identity "cloud"`) || !strings.Contains(found[0].Message, "clouds") {
		t.Errorf("%v", found)
	}
}

// judgeOf lets user/cloud call Status, and nothing else.
type judgeOf struct{}

func (judgeOf) Receive(c *actors.Context, msg any) error {
	if _, ok := msg.(actors.Started); ok {
		c.SetAuthorizer(func(w actors.Caller, topic string, _ bool) error {
			if w.Identity == "user/cloud" && !strings.HasSuffix(topic, "/Status") {
				return actors.Errorf(actors.PermissionDenied, "%s may not use %s", w.Identity, topic)
			}
			return nil
		})
		c.OK()
	}
	return nil
}
