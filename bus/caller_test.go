package bus_test

import (
	"context"
	"testing"
	"time"

	"gatewayd/bus"

	"github.com/nats-io/nats.go"
)

// An outside client is identified by its key, whatever headers it makes up.
func TestCallersCannotPose(t *testing.T) {
	b, keys := listening(t, nil)
	heard := make(chan bus.Caller, 8)
	stop, err := b.Conn().Subscribe("gw.demo.cmd.>", func(m bus.Msg) {
		heard <- m.Caller()
		_ = m.RespondRaw(bus.JSON, []byte("{}"))
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	trace := bus.NewTrace()
	nc, _ := outside(t, b, keys, bus.Operator)
	for name, h := range map[string]nats.Header{
		"plain": {}, "posing": {"Gw-Caller": {"mqtt/boss"}}, "posing as nobody": {"Gw-Caller": {"local"}, "Nats-Request-Info": {`{"acc":"boss"}`}},
		"twice":     {"Nats-Request-Info": {`{"acc":"boss"}`, `{"acc":"boss"}`}},
		"in hiding": {"XNats-Request-Info": {"x"}, "Nats-Request-Info": {`{"acc":"boss"}`}},
	} {
		h["traceparent"] = []string{"00-" + trace + "-0123456789abcdef-01"}
		if _, err := nc.RequestMsg(&nats.Msg{Subject: "gw.demo.cmd.a.B", Header: h}, 5*time.Second); err != nil {
			t.Fatal(err)
		}
		if got := <-heard; got.Identity != "nats/operator" || got.Trace != trace {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for _, want := range []bus.Caller{{Identity: "mqtt/panel", Trace: trace, Span: "00f067aa0ba902b7"}, {Identity: bus.Local}} {
		ctx := context.Background()
		if want.Identity != bus.Local {
			ctx = bus.WithHeader(ctx, want.Header())
		}
		if _, _, err := b.Conn().CallRaw(ctx, "gw.demo.cmd.a.B", bus.JSON, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		if got := <-heard; got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

func TestParseParent(t *testing.T) {
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	for parent, want := range map[string]string{
		"00-" + id + "-00f067aa0ba902b7-01":                       id,
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01": id,
		"00-" + id: "", "": "", id: "", "00-" + id[1:] + "g-00f067aa0ba902b7-01": "",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01": "", "00-" + id + "-0000000000000000-01": "",
	} {
		span := ""
		if want != "" {
			span = "00f067aa0ba902b7"
		}
		if trace, of := bus.ParseParent(parent); trace != want || of != span {
			t.Errorf("%q: %q and %q, want %q and %q", parent, trace, of, want, span)
		}
	}
}
