package modbusunit_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusunit"
	"gatewayd/protocols/modbus/sim"
	"gatewayd/protocols/serial/line"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

func equipped() *sim.Device {
	d := meter(7)
	d.Status(0x05)
	d.ServerID('m', '1', 0xff)
	d.Queue(9, 1, 2, 3)
	d.File(4, 10, 11, 12)
	d.Identity(map[uint8]string{0: "Acme", 1: "M-1", 2: "V\x01", 3: "u", 0x80: strings.Repeat("a", 120), 0x81: strings.Repeat("b", 120), 0x82: "c"})
	return d
}

func TestServices(t *testing.T) {
	virtually(t, func(t *testing.T) {
		r := piped(t, equipped())
		noFault(t, r)
		cfg := config()
		cfg.Points = nil
		r.Start(unitPath, modbusunit.Kind, cfg)
		basic := []*modbusv1.IdentificationObject{{Id: 0, Name: "vendor-name", Value: "Acme"}, {Id: 1, Name: "product-code", Value: "M-1"}, {Id: 2, Name: "revision", Value: `V\x01`}}
		object := func(n uint32) *uint32 { return &n }
		for _, x := range []struct {
			method string
			req    proto.Message
			want   proto.Message // or
			says   string
		}{
			{"MaskWrite", &modbusv1.MaskWriteRequest{Address: proto.Uint32(100), AndMask: proto.Uint32(0xf0), OrMask: proto.Uint32(5)}, &modbusv1.MaskWriteResponse{}, ""},
			{"ReadRegisters", &modbusv1.ReadRegistersRequest{Address: 100, Quantity: 1}, &modbusv1.ReadRegistersResponse{Values: []uint32{0x65}}, ""},
			{"MaskWrite", &modbusv1.MaskWriteRequest{Address: proto.Uint32(0), AndMask: proto.Uint32(0), OrMask: proto.Uint32(0)}, &modbusv1.MaskWriteResponse{}, ""},
			{"ReadWriteRegisters", &modbusv1.ReadWriteRegistersRequest{ReadAddress: proto.Uint32(0), Quantity: 1, WriteAddress: proto.Uint32(0), Values: []uint32{0}}, &modbusv1.ReadWriteRegistersResponse{Values: []uint32{0}}, ""},
			{"ReadWriteRegisters", &modbusv1.ReadWriteRegistersRequest{ReadAddress: proto.Uint32(109), Quantity: 2, WriteAddress: proto.Uint32(110), Values: []uint32{7}}, &modbusv1.ReadWriteRegistersResponse{Values: []uint32{109, 7}}, ""},
			{"ReadWriteRegisters", &modbusv1.ReadWriteRegistersRequest{ReadAddress: proto.Uint32(0), WriteAddress: proto.Uint32(0), Quantity: 1, Values: []uint32{65536}}, nil, "invalid_argument: values[0]: 65536 is out of range: a register holds 0 to 65535"},
			{"WriteRegisters", &modbusv1.WriteRegistersRequest{Values: []uint32{1}}, nil, "invalid_argument: WriteRegisters: address: is required"},
			{"WriteCoils", &modbusv1.WriteCoilsRequest{Values: []bool{true}}, nil, "invalid_argument: WriteCoils: address: is required"},
			{"MaskWrite", &modbusv1.MaskWriteRequest{AndMask: proto.Uint32(1)}, nil, "invalid_argument: MaskWrite: address: is required; orMask: is required"},
			{"ReadWriteRegisters", &modbusv1.ReadWriteRegistersRequest{Values: []uint32{1}}, nil, "invalid_argument: ReadWriteRegisters: readAddress: is required; writeAddress: is required"},
			{"WriteFileRecords", &modbusv1.WriteFileRecordsRequest{Records: []*modbusv1.FileRecords{{File: 4, Values: []uint32{77}}}}, nil, "invalid_argument: WriteFileRecords: records[0].record: is required"},
			{"WriteFileRecords", &modbusv1.WriteFileRecordsRequest{Records: []*modbusv1.FileRecords{{File: 4, Record: proto.Uint32(1), Values: []uint32{77}}}}, &modbusv1.WriteFileRecordsResponse{}, ""},
			{"ReadFileRecords", &modbusv1.ReadFileRecordsRequest{Ranges: []*modbusv1.FileRange{{File: 4, Quantity: 3}}}, &modbusv1.ReadFileRecordsResponse{Records: []*modbusv1.FileRecords{{File: 4, Record: proto.Uint32(0), Values: []uint32{10, 77, 12}}}}, ""},
			{"ReadFileRecords", &modbusv1.ReadFileRecordsRequest{Ranges: []*modbusv1.FileRange{{File: 4, Quantity: 120}, {File: 4, Quantity: 5}}}, nil, "invalid_argument: unit 7: read file records: the answer would have more than 245 bytes"},
			{"ReadFileRecords", &modbusv1.ReadFileRecordsRequest{Ranges: []*modbusv1.FileRange{{File: 5, Quantity: 1}}}, nil, "failed_precondition: unit 7: exception 2: illegal data address"},
			{"ReadFifo", &modbusv1.ReadFifoRequest{Address: 9}, &modbusv1.ReadFifoResponse{Values: []uint32{1, 2, 3}}, ""},
			{"ReportServerId", &modbusv1.ReportServerIdRequest{}, &modbusv1.ReportServerIdResponse{Data: "6d31ff", Text: `m1\xff`}, ""},
			{"ReadExceptionStatus", &modbusv1.ReadExceptionStatusRequest{}, &modbusv1.ReadExceptionStatusResponse{Values: []bool{true, false, true, false, false, false, false, false}}, ""},
			{"ReadIdentification", &modbusv1.ReadIdentificationRequest{Category: "basic"}, &modbusv1.ReadIdentificationResponse{Conformity: "extended", Individual: true, Objects: basic}, ""},
			{"ReadIdentification", &modbusv1.ReadIdentificationRequest{Object: object(1)}, &modbusv1.ReadIdentificationResponse{Conformity: "extended", Individual: true, Objects: basic[1:2]}, ""},
			{"ReadIdentification", &modbusv1.ReadIdentificationRequest{Object: object(99)}, nil, "failed_precondition: unit 7: exception 2: illegal data address"},
			{"Diagnose", &modbusv1.DiagnoseRequest{Values: []uint32{1, 2, 0xa537}}, &modbusv1.DiagnoseResponse{Values: []uint32{1, 2, 0xa537}}, ""},
			{"Diagnose", &modbusv1.DiagnoseRequest{Function: "clear-counters"}, &modbusv1.DiagnoseResponse{Values: []uint32{0}}, ""},
			{"Diagnose", &modbusv1.DiagnoseRequest{Function: "return-server-messages"}, &modbusv1.DiagnoseResponse{Values: []uint32{1}}, ""},
			{"Diagnose", &modbusv1.DiagnoseRequest{Function: "return-server-messages", Values: []uint32{3}}, nil, "invalid_argument: unit 7: diagnostics 14: 00 03 is not valid data for sub-function 14"},
			{"ReadEventCounter", &modbusv1.ReadEventCounterRequest{}, &modbusv1.ReadEventCounterResponse{Count: 2}, ""},
			{"Transact", &modbusv1.TransactRequest{Function: 3, Data: "00 0c 00 02"}, &modbusv1.TransactResponse{Data: "04000c000d"}, ""},
			{"Transact", &modbusv1.TransactRequest{Function: 6, Data: "00780001"}, &modbusv1.TransactResponse{Data: "00780001"}, ""},
			{"Transact", &modbusv1.TransactRequest{Function: 24, Data: "0009"}, &modbusv1.TransactResponse{Data: "00080003000100020003"}, ""},
			{"Transact", &modbusv1.TransactRequest{Function: 100, Data: "01"}, nil, "failed_precondition: unit 7: exception 1: illegal function"},
			{"Transact", &modbusv1.TransactRequest{Function: 3, Data: "0000"}, nil, "invalid_argument: read holding registers: malformed request 00 00"},
			{"Transact", &modbusv1.TransactRequest{Function: 3, Data: "00000000"}, nil, "invalid_argument: read holding registers: quantity 0 is not within 1..125"},
			{"Diagnose", &modbusv1.DiagnoseRequest{Function: "force-listen-only"}, &modbusv1.DiagnoseResponse{}, ""},
			{"Diagnose", &modbusv1.DiagnoseRequest{Function: "restart-communications", Values: []uint32{0xff00}}, nil, "deadline_exceeded: unit 7: no answer within 2s: the write may or may not have been carried out"},
		} {
			got := proto.Clone(x.want)
			if got == nil {
				got = &modbusv1.TransactResponse{}
			} else {
				proto.Reset(got)
			}
			_, err := call(r, x.method, x.req, got)
			switch {
			case x.says != "" && (err == nil || err.Error() != x.says):
				t.Errorf("%s: %v, want %s", x.method, err, x.says)
			case x.says == "" && (err != nil || !proto.Equal(got, x.want)):
				t.Errorf("%s: %v %v, want %v", x.method, got, err, x.want)
			}
		}
		log, err := call(r, "ReadEventLog", &modbusv1.ReadEventLogRequest{}, &modbusv1.ReadEventLogResponse{})
		if err != nil || log.Messages != 1 || len(log.Events) != 2 || log.Events[1] != "communication restarted" {
			t.Error(log, err)
		}
		id, err := call(r, "ReadIdentification", &modbusv1.ReadIdentificationRequest{Category: "extended"}, &modbusv1.ReadIdentificationResponse{})
		if err != nil || len(id.Objects) != 7 || id.Objects[6].Value != "c" || id.Objects[6].Id != 0x82 {
			t.Error(id, err)
		}
	})
}

// A unit 0 on a line addresses all units and gets no answers.
func TestBroadcast(t *testing.T) {
	a, b := meter(7), meter(8)
	r := actorstest.New(t)
	noFault(t, r)
	wired(t, r, line.Options{}, a, b)
	r.Start(unitPath, modbusunit.Kind, &modbusv1.Unit{Link: linkPath, Every: ms(1000), Timeout: ms(1000), MaxBackoff: ms(1000)})
	begin := time.Now()
	if _, err := call(r, "WriteRegisters", &modbusv1.WriteRegistersRequest{Address: proto.Uint32(50), Values: []uint32{4711}}, &modbusv1.WriteRegistersResponse{}); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took < 100*time.Millisecond {
		t.Errorf("no turnaround: %v", took)
	}
	for _, d := range []*sim.Device{a, b} {
		if got, _ := d.Get(sim.HoldingRegisters, 50, 1); got[0] != 4711 {
			t.Errorf("unit %d holds %d", d.Unit(), got[0])
		}
	}
	_, err := call(r, "ReadRegisters", &modbusv1.ReadRegistersRequest{}, &modbusv1.ReadRegistersResponse{})
	if err == nil || !strings.Contains(err.Error(), "a broadcast (unit 0) is never answered") {
		t.Error(err)
	}
}

// Address 0 is an address like any other, and the audit contains it.
func TestAuditShowsAddressZero(t *testing.T) {
	r := plant(t, equipped())
	noFault(t, r)
	r.Start(unitPath, modbusunit.Kind, config())
	told := actorstest.Watch(r, "event/"+unitPath+"/audited", &modbusv1.Audited{})
	if _, err := call(r, "WriteRegisters", &modbusv1.WriteRegistersRequest{Address: proto.Uint32(0), Values: []uint32{0}}, &modbusv1.WriteRegistersResponse{}); err != nil {
		t.Fatal(err)
	}
	text, err := protojson.Marshal(actorstest.Next(t, told))
	if err != nil || !regexp.MustCompile(`"address":\s*0`).Match(text) || !regexp.MustCompile(`"values":\s*\[0\]`).Match(text) {
		t.Errorf("%s: %v", text, err)
	}
}
