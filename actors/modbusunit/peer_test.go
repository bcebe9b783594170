package modbusunit_test

import (
	"encoding/binary"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/schedule"
)

// oldDevice is a link to a device with one register that knows only functions 3 and 6.
func oldDevice(register *uint16, functions *[]uint8) func(any) any {
	return func(msg any) any {
		ask, ok := msg.(*dispatch.Ask)
		if !ok {
			return nil
		}
		r := ask.Requests[0]
		*functions = append(*functions, r.Function)
		res := dispatch.Result{}
		switch r.Function {
		case modbus.ReadHoldingRegisters:
			res.Data = binary.BigEndian.AppendUint16(nil, *register)
		case modbus.WriteSingleRegister:
			*register = binary.BigEndian.Uint16(r.Data)
		default:
			res.Err, res.Outcome = &modbus.Exception{Function: r.Function, Code: modbus.IllegalFunction}, schedule.Exception
		}
		return &dispatch.Answer{Ask: ask, Results: []dispatch.Result{res}}
	}
}
