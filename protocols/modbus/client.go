package modbus

import (
	"context"
	"encoding/binary"
	"errors"

	grid "github.com/grid-x/modbus"
)

// packagerOf returns grid-x's packager for the framing. The transport of the handler it comes from
// is never opened.
func packagerOf(f Framing) grid.Packager {
	switch {
	case f == TCP:
		return grid.NewTCPClientHandler("")
	case f.ascii():
		return grid.NewASCIIClientHandler("")
	}
	return grid.NewRTUClientHandler("")
}

// transport presents the Link that holds a state to grid-x's client.
type transport struct{ *transactionState }

// errBroadcast tells Do, through grid-x, which has no notion of broadcasts, that the request was
// sent and no answer is due.
var errBroadcast = errors.New("broadcast sent")

// Send sends one frame and returns its answer.
func (t transport) Send(ctx context.Context, adu []byte) ([]byte, error) {
	l := t.link
	if t.framing == TCP {
		binary.BigEndian.PutUint16(adu, l.transaction) // an id for which no answer is outstanding
	}
	body, err := l.send(ctx, adu)
	switch {
	case err != nil:
		return nil, err
	case body == nil:
		return nil, errBroadcast
	}
	if frame := t.whole; frame != nil { // its transaction id is already the right one
		t.whole = nil
		return frame, nil
	}
	return AppendFrame(make([]byte, 0, t.framing.size(len(body)-1)), t.framing, l.transaction, body[0], body[1:]), nil
}

// call carries out a request on coils or registers with grid-x's client.
func (l *Link) call(ctx context.Context, r Request) (Response, error) {
	l.packer.SetSlave(r.Unit)
	data, err := ask(ctx, l.client, r)
	var refusal *grid.Error
	switch {
	case errors.As(err, &refusal):
		return Response{}, &Exception{Function: r.Function, Code: refusal.ExceptionCode}
	case err == errBroadcast:
		return Response{}, nil
	case err != nil:
		return Response{}, err
	case r.form() == formSingle, r.form() == formMany:
		return Response{}, nil
	}
	return Response{Data: data}, nil
}

func ask(ctx context.Context, c grid.Client, r Request) ([]byte, error) {
	switch r.Function {
	case ReadCoils:
		return c.ReadCoils(ctx, r.Address, r.Quantity)
	case ReadDiscreteInputs:
		return c.ReadDiscreteInputs(ctx, r.Address, r.Quantity)
	case ReadHoldingRegisters:
		return c.ReadHoldingRegisters(ctx, r.Address, r.Quantity)
	case ReadInputRegisters:
		return c.ReadInputRegisters(ctx, r.Address, r.Quantity)
	case WriteSingleCoil:
		return c.WriteSingleCoil(ctx, r.Address, word(r.Data, 0))
	case WriteSingleRegister:
		return c.WriteSingleRegister(ctx, r.Address, word(r.Data, 0))
	case WriteMultipleCoils:
		return c.WriteMultipleCoils(ctx, r.Address, r.Quantity, r.Data)
	case WriteMultipleRegisters:
		return c.WriteMultipleRegisters(ctx, r.Address, r.Quantity, r.Data)
	case MaskWriteRegister:
		return c.MaskWriteRegister(ctx, r.Address, word(r.Data, 0), word(r.Data, 1))
	default: // call is used for no other function
		return c.ReadWriteMultipleRegisters(ctx, r.Address, r.Quantity, r.WriteAddress, uint16(len(r.Data)/2), r.Data)
	}
}
