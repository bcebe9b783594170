package modbusdoor

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	modbusv1 "gatewayd/schemas/modbus/v1"
)

// masters lists the connected masters; none while the doors are closed.
func (d *Doors) masters() *modbusv1.MastersResponse {
	if d.server == nil {
		return &modbusv1.MastersResponse{}
	}
	n := d.server.Counts()
	r := &modbusv1.MastersResponse{
		Accepted: n.Accepted, Refused: n.Refused, Strangers: n.Strangers, Idle: n.Idle, Slow: n.Slow, Garbled: n.Garbled,
		Requests: n.Requests, Exceptions: n.Exceptions, Garbage: n.Garbage,
	}
	for _, i := range d.server.Masters() {
		m := &modbusv1.Master{
			Door: i.Door, Address: i.Address, Role: i.Role, Since: timestamppb.New(i.Since),
			Requests: i.Requests, Exceptions: i.Exceptions, Garbage: i.Garbage, Open: uint32(i.Open),
		}
		if !i.Last.IsZero() {
			m.Last = timestamppb.New(i.Last)
		}
		r.Masters = append(r.Masters, m)
	}
	return r
}
