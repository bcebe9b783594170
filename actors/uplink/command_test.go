package uplink_test

import (
	"context"
	"strings"
	"testing"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/bus"
	far "gatewayd/protocols/uplink"
	uplinkv1 "gatewayd/schemas/uplink/v1"

	"gatewayd/actors/uplink"
)

// outcome is what a far end hears of a command.
type outcome struct {
	payload string
	err     error
}

func TestCommands(t *testing.T) {
	r := actorstest.New(t)
	f := &cloud{}
	k := uplink.Define(actors.Kind{Name: "uplink-test", Doc: "is for tests"}, func(uplink.Who, *uplinkv1.UplinkMqtt) (uplink.Far, error) {
		return uplink.Far{Where: "test://cloud", Dial: func(_ context.Context, hear far.Hear) (far.Sender, error) {
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
	if m := actorstest.Next(t, told); m.Command != "cmd/uplinks/cloud/Status" || m.Error != "" {
		t.Errorf("%v", m)
	}
	for _, x := range [][2]string{{path, "Restart"}, {"a/+", "Status"}, {"uplinks/../x", "Status"}} {
		if o := ask(x[0], x[1]); o.err == nil || bus.AsError(o.err).Code != bus.PermissionDenied {
			t.Errorf("%v: %v", x, o)
		}
	}
	if o := ask("nobody", "Do"); o.err == nil {
		t.Errorf("%v", o)
	}
	if s := status(t, r); s.Counts.Commands != 1 || s.Counts.Refused != 4 {
		t.Errorf("%v", s.Counts)
	}
}
