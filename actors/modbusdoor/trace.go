package modbusdoor

import (
	"context"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/actors/modbuslink"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/explain"
	"gatewayd/protocols/modbus/server"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// trace shows the requests of masters and the answers to them.
func (d *Doors) trace(c *actors.Context, m *modbusv1.MastersServiceTraceRequest) {
	if d.server == nil {
		c.Refuse(actors.Errorf(actors.Unavailable, "trace: the listeners are not open yet"))
		return
	}
	filter := server.Filter{Filter: modbus.Filter{Unit: -1, Function: uint8(m.Function)}, Master: m.Master}
	if m.Unit != nil {
		filter.Unit = int(*m.Unit)
	}
	ear, err := d.server.Tap(filter)
	if err != nil {
		c.Refuse(actors.Errorf(actors.ResourceExhausted, "trace: %s", err))
		return
	}
	c.Stream(&passing{FrameTap: ear, readers: map[*server.Master]*explain.Reader{}})
}

// passing is an actors.Source of the frames between masters and the gateway.
type passing struct {
	*server.FrameTap
	readers map[*server.Master]*explain.Reader // one per master, since answers belong to requests of the same master
}

// Next implements actors.Source.
func (p *passing) Next(ctx context.Context) (proto.Message, error) {
	h, err := p.FrameTap.Next(ctx)
	if err != nil {
		return nil, err
	}
	r := p.readers[h.From]
	if r == nil {
		r = &explain.Reader{Serving: true}
		p.readers[h.From] = r
	}
	if h.Over {
		delete(p.readers, h.From)
	}
	frame := modbuslink.Frame(r.Explain(h.Framing, h.Frame))
	frame.Master = h.From.Label()
	if h.Note != "" {
		frame.Text = h.Note
	}
	return &modbusv1.MastersServiceTraceResponse{Frame: frame, Framing: h.Framing.String(), Missed: p.Missed()}, nil
}
