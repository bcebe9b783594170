package modbusunit

import (
	"gatewayd/actors"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

var categories = map[string]uint8{"basic": modbus.BasicIdentification, "regular": modbus.RegularIdentification, "extended": modbus.ExtendedIdentification}

var conformities = map[uint8]string{modbus.BasicIdentification: "basic", modbus.RegularIdentification: "regular", modbus.ExtendedIdentification: "extended"}

func (u *unit) identify(c *actors.Context, m *modbusv1.ReadIdentificationRequest) {
	category, first := categories[m.Category], uint8(0)
	if m.Object != nil {
		category, first = modbus.OneObject, uint8(*m.Object)
	}
	u.identifyFrom(c, category, first, &modbusv1.ReadIdentificationResponse{})
}

// identifyFrom reads the objects starting at first, in as many transactions as necessary. It ends
// because each transaction must bring larger object numbers than the one before.
func (u *unit) identifyFrom(c *actors.Context, category, first uint8, answer *modbusv1.ReadIdentificationResponse) {
	u.request(c, modbus.Identify(0, category, first), func(c *actors.Context, r *dispatch.Result) {
		id, err := modbus.ParseIdentification(r.Data)
		if err != nil {
			c.Refuse(err)
			return
		}
		answer.Conformity, answer.Individual = conformities[id.Conformity&0x7f], id.Conformity&0x80 != 0
		last := first
		for _, o := range id.Objects {
			last = max(last, o.ID)
			answer.Objects = append(answer.Objects, &modbusv1.IdentificationObject{Id: uint32(o.ID), Name: modbus.ObjectName(o.ID), Value: text(o.Value)})
		}
		switch {
		case !id.More || category == modbus.OneObject:
			c.Reply(answer)
		case id.Next <= last:
			c.Refuse(actors.Errorf(actors.FailedPrecondition, "unit %d: its device identification loops from object %d back to %d", u.cfg.Unit, last, id.Next))
		default:
			u.identifyFrom(c, category, id.Next, answer)
		}
	})
}
