package bus_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"gatewayd/bus"
)

// The details of an error survive wrapping, and reach the caller.
func TestDetailsOfErrorsTravel(t *testing.T) {
	b := start(t, nil)
	_, err := b.Conn().Subscribe("gw.demo.cmd.>", func(m bus.Msg) {
		_ = m.Fail(fmt.Errorf("line 1: %w", bus.Errorf(bus.NotFound, "no such unit").With(wrapperspb.UInt32(7))))
	})
	if err != nil {
		t.Fatal(err)
	}
	var e *bus.Error
	if err = b.Conn().Call(within(t), "gw.demo.cmd.a.b.Read", wrapperspb.Int64(1), &wrapperspb.Int64Value{}); !errors.As(err, &e) {
		t.Fatal(err)
	}
	if e.Code != bus.NotFound || e.Message != "line 1: no such unit" || len(e.Details) != 1 {
		t.Fatalf("%+v", e)
	}
	if d := e.Details[0]; d.Type != "google.protobuf.UInt32Value" || d.Value != "CAc" || strings.TrimSpace(string(d.Debug)) != "7" {
		t.Errorf("%+v", d)
	}
}
