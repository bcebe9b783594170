package device

import (
	"context"
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors/modbusunit"
	"gatewayd/cmd/gatewayd/client"
	"gatewayd/protocols/modbus/points"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// hosted is a unit of a running gateway, which passes the requests on.
type hosted struct {
	*client.Client
	path string
}

func (h *hosted) ask(ctx context.Context, method string, req, resp proto.Message) error {
	subject, err := h.Subject(h.path, method)
	if err != nil {
		return err
	}
	ctx, cancel := h.Bounded(ctx)
	defer cancel()
	if err := h.Conn.Call(ctx, subject, req, resp); err != nil {
		return h.Explain(err)
	}
	return nil
}

func (h *hosted) points(ctx context.Context) (modbusunit.Known, error) {
	cfg := &modbusv1.Unit{}
	is, err := h.ConfigInto(ctx, h.path, cfg)
	switch {
	case err != nil:
		return modbusunit.Known{}, h.Explain(err)
	case !is:
		return modbusunit.Known{}, fmt.Errorf("%s is not a modbus-unit", h.path)
	}
	return modbusunit.UnitKnown(cfg)
}

func (h *hosted) broadcast(ctx context.Context) bool {
	cfg := &modbusv1.Unit{}
	if is, err := h.ConfigInto(ctx, h.path, cfg); err != nil || !is || cfg.Unit != 0 {
		return false
	}
	link, err := h.ConfigAmong(ctx, cfg.Link, &modbusv1.SerialLine{}, &modbusv1.TcpLink{}, &modbusv1.DtuLink{})
	way, ok := link.(interface{ GetFraming() string })
	return err == nil && ok && way.GetFraming() != "tcp"
}

func (h *hosted) read(ctx context.Context, r points.Read) ([]byte, error) {
	if r.Area == points.Coil || r.Area == points.DiscreteInput {
		m := &modbusv1.ReadBitsResponse{}
		err := h.ask(ctx, "ReadBits", &modbusv1.ReadBitsRequest{Area: r.Area, Address: uint32(r.Address), Quantity: uint32(r.Quantity)}, m)
		return packed(m.Values), err
	}
	m := &modbusv1.ReadRegistersResponse{}
	err := h.ask(ctx, "ReadRegisters", &modbusv1.ReadRegistersRequest{Area: r.Area, Address: uint32(r.Address), Quantity: uint32(r.Quantity)}, m)
	var data []byte
	for _, v := range m.Values {
		data = binary.BigEndian.AppendUint16(data, uint16(v))
	}
	return data, err
}

// packed packs bits as they are encoded on the wire.
func packed(bits []bool) []byte {
	data := make([]byte, (len(bits)+7)/8)
	for i, on := range bits {
		if on {
			data[i/8] |= 1 << (i % 8)
		}
	}
	return data
}

func (h *hosted) write(ctx context.Context, area string, address, quantity uint16, data []byte) error {
	if area == points.Coil {
		m := &modbusv1.WriteCoilsRequest{Address: proto.Uint32(uint32(address))}
		for i := range int(quantity) {
			m.Values = append(m.Values, data[i/8]>>(i%8)&1 == 1)
		}
		return h.ask(ctx, "WriteCoils", m, &modbusv1.WriteCoilsResponse{})
	}
	m := &modbusv1.WriteRegistersRequest{Address: proto.Uint32(uint32(address))}
	for i := 0; i < len(data); i += 2 {
		m.Values = append(m.Values, uint32(binary.BigEndian.Uint16(data[i:])))
	}
	return h.ask(ctx, "WriteRegisters", m, &modbusv1.WriteRegistersResponse{})
}

func (h *hosted) set(ctx context.Context, p points.Point, v points.Value) error {
	m := &modbusv1.WritePointRequest{Point: p.Name}
	text, isText := v.Text()
	flag, isFlag := v.Bool()
	whole, isWhole := v.Int64()
	great, isGreat := v.Uint64()
	number, _ := v.Float64()
	switch {
	case isText:
		m.Value = &modbusv1.WritePointRequest_Text{Text: text}
	case isFlag:
		m.Value = &modbusv1.WritePointRequest_Flag{Flag: flag}
	case isWhole:
		m.Value = &modbusv1.WritePointRequest_Integer{Integer: whole}
	case isGreat:
		m.Value = &modbusv1.WritePointRequest_Unsigned{Unsigned: great}
	default:
		m.Value = &modbusv1.WritePointRequest_Number{Number: number}
	}
	return h.ask(ctx, "WritePoint", m, &modbusv1.WritePointResponse{})
}
