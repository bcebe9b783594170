package modbusserver

import (
	"gatewayd/actors"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/image"
	"gatewayd/protocols/modbus/server"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// handler answers masters, in the goroutines of their connections. Reads are answered at once from
// the image; writes are handed to the actor.
type handler struct {
	image    *image.Image
	identity *server.Identity
	own      uint8 // unit address that unit 0 or 255 over TCP stands for
	post     func(msg any) error
}

func newHandler(c *actors.Context, cfg *modbusv1.Server, m *image.Image) *handler {
	id := &server.Identity{Vendor: "gatewayd", Product: "gatewayd", Version: actors.Build(), Name: "gatewayd", Application: c.Gateway()}
	if i := cfg.Identity; i != nil {
		for _, f := range []struct {
			to   *string
			from string
		}{{&id.Vendor, i.Vendor}, {&id.Product, i.Product}, {&id.URL, i.Url}, {&id.Name, i.Name}, {&id.Model, i.Model}, {&id.Application, i.Application}} {
			if f.from != "" {
				*f.to = f.from
			}
		}
	}
	return &handler{image: m, identity: id, own: uint8(cfg.Unit), post: c.Post()}
}

// Handle implements server.Handler.
func (d *handler) Handle(dst []byte, q *server.Query) []byte {
	if q.Broadcast {
		return d.write(dst, q, q.Request)
	}
	request := q.Request
	if !d.image.Has(q.Unit) {
		switch {
		case q.Line():
			return dst // addressed to another device on the line
		case q.Unit != 0 && q.Unit != 255:
			return modbus.AppendException(dst, q.PDU[0], modbus.GatewayTarget)
		}
		request.Unit = d.own // the answer still carries the unit address of the request
	}
	if answer, mine := d.identity.Answer(dst, q.PDU); mine {
		return answer
	}
	if q.Refused != nil {
		return modbus.AppendException(dst, q.PDU[0], q.Refused.Code)
	}
	switch q.Function {
	case modbus.ReadCoils, modbus.ReadDiscreteInputs, modbus.ReadHoldingRegisters, modbus.ReadInputRegisters:
		return d.read(dst, request)
	case modbus.WriteSingleCoil, modbus.WriteSingleRegister, modbus.WriteMultipleCoils, modbus.WriteMultipleRegisters,
		modbus.MaskWriteRegister, modbus.ReadWriteMultipleRegisters:
		return d.write(dst, q, request)
	}
	return modbus.AppendException(dst, q.PDU[0], modbus.IllegalFunction)
}

func (d *handler) read(dst []byte, r modbus.Request) []byte {
	answer, code := d.image.Read(append(dst, r.Function), r)
	if code != 0 {
		return modbus.AppendException(dst, r.Function, code)
	}
	d.identity.Done()
	return answer
}

func (d *handler) write(dst []byte, q *server.Query, request modbus.Request) []byte {
	if q.Refused != nil || !q.Write() {
		return dst // a broadcast that may not write or does not write
	}
	j := &job{desk: d, master: q.Master(), later: q.Defer(), request: request, broadcast: q.Broadcast}
	if d.post(j) != nil {
		j.later.Refuse(modbus.DeviceBusy)
	}
	return dst
}
