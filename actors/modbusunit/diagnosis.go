package modbusunit

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"strings"

	"gatewayd/actors"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// diagnosis carries out the calls for diagnosis.
func (u *unit) diagnosis(c *actors.Context, msg any) {
	switch m := msg.(type) {
	case *modbusv1.ReadIdentificationRequest:
		u.identify(c, m)
	case *modbusv1.DiagnoseRequest:
		u.diagnose(c, m)
	case *modbusv1.ReportServerIdRequest:
		u.request(c, modbus.Request{Function: modbus.ReportServerID}, func(c *actors.Context, r *dispatch.Result) {
			c.Reply(&modbusv1.ReportServerIdResponse{Data: hex.EncodeToString(r.Data), Text: text(r.Data)})
		})
	case *modbusv1.ReadExceptionStatusRequest:
		u.request(c, modbus.Request{Function: modbus.ReadExceptionStatus}, func(c *actors.Context, r *dispatch.Result) {
			c.Reply(&modbusv1.ReadExceptionStatusResponse{Values: bits(r, 8)})
		})
	case *modbusv1.ReadEventCounterRequest:
		u.request(c, modbus.Request{Function: modbus.ReadEventCounter}, func(c *actors.Context, r *dispatch.Result) {
			c.Reply(&modbusv1.ReadEventCounterResponse{Busy: r.Register(0) != 0, Count: uint32(r.Register(1))})
		})
	case *modbusv1.ReadEventLogRequest:
		u.eventLog(c)
	case *modbusv1.TransactRequest:
		u.transact(c, m)
	}
}

func (u *unit) eventLog(c *actors.Context) {
	u.request(c, modbus.Request{Function: modbus.ReadEventLog}, func(c *actors.Context, r *dispatch.Result) {
		log, err := modbus.ParseEvents(r.Data)
		if err != nil {
			c.Refuse(err)
			return
		}
		answer := &modbusv1.ReadEventLogResponse{Busy: log.Busy, Count: uint32(log.Count), Messages: uint32(log.Messages)}
		for _, e := range log.Events {
			answer.Events = append(answer.Events, e.String())
		}
		c.Reply(answer)
	})
}

// subFunctions maps names to diagnostic sub-functions.
var subFunctions = map[string]uint16{
	"return-query-data":          modbus.ReturnQueryData,
	"restart-communications":     modbus.RestartCommunications,
	"return-diagnostic-register": modbus.ReturnDiagnosticRegister,
	"change-ascii-delimiter":     modbus.ChangeDelimiter,
	"force-listen-only":          modbus.ForceListenOnly,
	"clear-counters":             modbus.ClearCounters,
	"return-bus-messages":        modbus.ReturnBusMessages,
	"return-bus-errors":          modbus.ReturnBusErrors,
	"return-bus-exceptions":      modbus.ReturnBusExceptions,
	"return-server-messages":     modbus.ReturnServerMessages,
	"return-server-no-responses": modbus.ReturnServerNoResponses,
	"return-server-naks":         modbus.ReturnServerNAKs,
	"return-server-busy":         modbus.ReturnServerBusy,
	"return-character-overruns":  modbus.ReturnBusCharacterOverrun,
	"clear-overruns":             modbus.ClearOverrun,
}

func (u *unit) diagnose(c *actors.Context, m *modbusv1.DiagnoseRequest) {
	values := m.Values
	if len(values) == 0 {
		values = []uint32{0}
	}
	data, err := packed("values", values)
	if err != nil {
		c.Refuse(err)
		return
	}
	u.request(c, modbus.Diagnose(0, subFunctions[m.Function], data...), func(c *actors.Context, r *dispatch.Result) {
		c.Reply(&modbusv1.DiagnoseResponse{Values: registers(r)})
	})
}

func (u *unit) transact(c *actors.Context, m *modbusv1.TransactRequest) {
	data, err := hex.DecodeString(strings.ReplaceAll(m.Data, " ", ""))
	if err != nil {
		c.Refuse(actors.Errorf(actors.InvalidArgument, "data: %s", err))
		return
	}
	r, err := modbus.Transaction(uint8(m.Function), data)
	if err != nil {
		c.Refuse(actors.Errorf(actors.InvalidArgument, "%s", err))
		return
	}
	u.request(c, r, func(c *actors.Context, res *dispatch.Result) {
		pdu, err := modbus.AppendResponse(nil, r, res.Response)
		if err != nil || u.cfg.Unit == 0 && len(res.Data) == 0 || silent(r) {
			pdu = []byte{r.Function}
		}
		c.Reply(&modbusv1.TransactResponse{Data: hex.EncodeToString(pdu[1:])})
	})
}

// silent reports whether a unit does not answer a request that succeeds.
func silent(r modbus.Request) bool {
	return r.Function == modbus.Diagnostics && bytes.HasPrefix(r.Data, []byte{0, byte(modbus.ForceListenOnly)})
}

// text returns bytes as text for display. Bytes that are not printable are written in hexadecimal.
func text(b []byte) string {
	s := strconv.Quote(string(b))
	return strings.ReplaceAll(strings.ReplaceAll(s[1:len(s)-1], `\"`, `"`), `\\`, `\`)
}
