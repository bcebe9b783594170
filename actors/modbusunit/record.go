package modbusunit

import (
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// record carries out calls other than plain reads and writes.
func (u *unit) record(c *actors.Context, msg any) {
	switch m := msg.(type) {
	case *modbusv1.MaskWriteRequest:
		data := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, uint16(m.GetAndMask())), uint16(m.GetOrMask()))
		u.request(c, modbus.Request{Function: modbus.MaskWriteRegister, Address: uint16(m.GetAddress()), Quantity: 1, Data: data},
			func(c *actors.Context, _ *dispatch.Result) { c.Reply(&modbusv1.MaskWriteResponse{}) })
	case *modbusv1.ReadWriteRegistersRequest:
		u.readWrite(c, m)
	case *modbusv1.ReadFileRecordsRequest:
		u.readFiles(c, m)
	case *modbusv1.WriteFileRecordsRequest:
		u.writeFiles(c, m)
	case *modbusv1.ReadFifoRequest:
		u.request(c, modbus.Request{Function: modbus.ReadFIFOQueue, Address: uint16(m.Address)},
			func(c *actors.Context, r *dispatch.Result) { c.Reply(&modbusv1.ReadFifoResponse{Values: registers(r)}) })
	default:
		u.diagnosis(c, msg)
	}
}

func (u *unit) readWrite(c *actors.Context, m *modbusv1.ReadWriteRegistersRequest) {
	data, err := packed("values", m.Values)
	if err != nil {
		c.Refuse(err)
		return
	}
	u.request(c, modbus.Request{
		Function: modbus.ReadWriteMultipleRegisters, Address: uint16(m.GetReadAddress()), Quantity: uint16(m.Quantity),
		WriteAddress: uint16(m.GetWriteAddress()), Data: data,
	}, func(c *actors.Context, r *dispatch.Result) {
		c.Reply(&modbusv1.ReadWriteRegistersResponse{Values: registers(r)})
	})
}

func (u *unit) readFiles(c *actors.Context, m *modbusv1.ReadFileRecordsRequest) {
	runs := make([]modbus.Records, len(m.Ranges))
	for i, r := range m.Ranges {
		runs[i] = modbus.Records{File: uint16(r.File), Record: uint16(r.GetRecord()), Length: uint16(r.Quantity)}
	}
	request := modbus.ReadFiles(0, runs...)
	u.request(c, request, func(c *actors.Context, r *dispatch.Result) {
		runs, err := modbus.ParseFiles(request, r.Data)
		if err != nil {
			c.Refuse(err)
			return
		}
		answer := &modbusv1.ReadFileRecordsResponse{}
		for _, run := range runs {
			records := &modbusv1.FileRecords{File: uint32(run.File), Record: proto.Uint32(uint32(run.Record))}
			for _, v := range run.Values {
				records.Values = append(records.Values, uint32(v))
			}
			answer.Records = append(answer.Records, records)
		}
		c.Reply(answer)
	})
}

func (u *unit) writeFiles(c *actors.Context, m *modbusv1.WriteFileRecordsRequest) {
	runs := make([]modbus.Records, len(m.Records))
	for i, r := range m.Records {
		if _, err := packed(fmt.Sprintf("records[%d].values", i), r.Values); err != nil {
			c.Refuse(err)
			return
		}
		runs[i] = modbus.Records{File: uint16(r.File), Record: uint16(r.GetRecord())}
		for _, v := range r.Values {
			runs[i].Values = append(runs[i].Values, uint16(v))
		}
	}
	u.request(c, modbus.WriteFiles(0, runs...), func(c *actors.Context, _ *dispatch.Result) {
		c.Reply(&modbusv1.WriteFileRecordsResponse{})
	})
}
