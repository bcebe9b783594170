package serialline

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/protocols/serial"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// power defines the power cycle of a line. The line is stopped, so its port is closed; then the
// driver of a USB adapter is unbound and bound again, which resets most of what can get stuck in an
// adapter.
func power(adapters *serial.Adapters) func(proto.Message) *actors.Power {
	return func(config proto.Message) *actors.Power {
		path := config.(*modbusv1.SerialLine).Port
		return &actors.Power{
			Off: func(context.Context) error { return off(adapters, path) },
			On:  func(ctx context.Context) error { return on(ctx, adapters, path) },
			Hold: &gatewayv1.Power{
				Off: durationpb.New(5 * time.Second), MinOff: durationpb.New(2 * time.Second),
				HoldOn: durationpb.New(30 * time.Second), On: durationpb.New(20 * time.Second),
			},
		}
	}
}

func off(adapters *serial.Adapters, path string) error {
	d, ok := adapters.Behind(path)
	if !ok || !d.Plugged() {
		return nil
	}
	unbind := d.Unbind()
	if unbind == nil {
		return nil
	}
	if err := d.Deauthorize(); err != nil {
		return errors.Join(unbind, err)
	}
	return nil
}

// on waits until the port exists again. An adapter that is not plugged in is not stuck: the line
// reports it and waits for it.
func on(ctx context.Context, adapters *serial.Adapters, path string) error {
	d, ok := adapters.Behind(path)
	if !ok || !d.Plugged() {
		return nil
	}
	if bind := d.Bind(); bind != nil { // off had to deauthorize the adapter
		if err := d.Authorize(); err != nil {
			return errors.Join(bind, err)
		}
	}
	return serial.Appeared(ctx, path)
}
