package mqttbroker_test

import (
	"testing"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

// The called actor learns the identity of the client and the trace.
func TestCallersAreNamed(t *testing.T) {
	r := actorstest.New(t)
	_, addr := start(t, r, &mqttv1.Broker{})
	callers := make(chan actors.Caller, 1)
	startCounter(r, func(c *actors.Context, _ string) {
		callers <- c.Caller()
		c.Reply(nil)
	})
	trace := actors.NewTrace()
	mosquitto(t, "rr", addr, "-V", "5", "-i", "panel 1", "-t", "cmd/field/plc/Misbehave", "-e", "reply/panel 1/1", "-m", `{"how":"panic"}`,
		"-D", "PUBLISH", "user-property", "traceparent", "00-"+trace+"-0123456789abcdef-01").next()
	if got := actorstest.Next(t, callers); got.Identity != "mqtt/panel 1" || got.Trace != trace {
		t.Errorf("%+v, want panel 1 in trace %s", got, trace)
	}
}
