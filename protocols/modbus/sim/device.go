// Package sim implements simulated Modbus devices, for tests, the demo and benchmarks. They answer
// over TCP and any stream, and misbehave on request in the ways real devices do. It is not a server
// for production: it has no client limits and no access control.
package sim

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"gatewayd/protocols/modbus"
)

// Table is one of the four tables of a Modbus device.
type Table uint8

const (
	Coils Table = iota
	DiscreteInputs
	HoldingRegisters
	InputRegisters
)

// Device is one unit. It is safe for concurrent use, also while it is being served.
type Device struct {
	unit     uint8
	requests atomic.Int64
	writes   atomic.Int64
	answers  atomic.Int64

	mu        sync.Mutex
	banks     [4]bank
	service   service
	behaviour Behaviour
	dice      *rand.Rand
	last      []byte // PDU of the previous answer
	changed   func(t Table, address uint16, values []uint16)
}

// NewDevice returns a healthy device without coils and registers: its tables contain what Put and
// Follow add; other addresses result in exception 2.
func NewDevice(unit uint8) *Device {
	return &Device{unit: unit, dice: rand.New(rand.NewPCG(0, uint64(unit)))}
}

// Unit returns the device's address.
func (d *Device) Unit() uint8 { return d.unit }

// Put creates addresses from first on with these values (coils: 0 is off). Addresses beyond 65535
// are dropped.
func (d *Device) Put(t Table, first uint16, values ...uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.banks[t].put(int(first), values[:min(len(values), 1<<16-int(first))])
}

// Follow creates n addresses from first on whose value is computed by f at each read. f is called
// with the device locked and must not call the device's methods.
func (d *Device) Follow(t Table, first uint16, n int, f func(address uint16) uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.banks[t].follow(int(first), min(n, 1<<16-int(first)), f)
}

// Get reads n values as a client would. It returns false if one of them does not exist.
func (d *Device) Get(t Table, first uint16, n int) ([]uint16, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.banks[t].get(int(first), n)
}

// Changed sets the function that is called after a client's write. It is called with the device
// locked and must not call the device's methods.
func (d *Device) Changed(f func(t Table, address uint16, values []uint16)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.changed = f
}

// Counters are the totals of a device since it was created, for all clients and including
// broadcasts.
type Counters struct {
	Requests int64 // valid requests for this unit, answered or not
	Writes   int64 // writes carried out
	Answers  int64 // answers sent, including exceptions
}

func (d *Device) Counters() Counters {
	return Counters{Requests: d.requests.Load(), Writes: d.writes.Load(), Answers: d.answers.Load()}
}

// execute carries out a query atomically and returns the PDU of the correct answer, or nil if the
// device must be silent.
func (d *Device) execute(q modbus.Query, broadcast bool) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	desk := &d.service.desk
	desk.hear(broadcast)
	if desk.listening {
		if q.Refused == nil && q.Function == modbus.Diagnostics && q.Data[0] == 0 && uint16(q.Data[1]) == modbus.RestartCommunications {
			desk.diagnose(q.Data)
		}
		return nil
	}
	pdu, code := d.judge(q)
	desk.say(q.Function, code)
	if desk.listening {
		return nil // from now on
	}
	if code != 0 {
		pdu = modbus.AppendException(nil, q.Function, code)
	}
	return pdu
}

// judge returns an answer's PDU, or else the exception code. The device is locked.
func (d *Device) judge(q modbus.Query) (pdu []byte, code uint8) {
	if q.Refused != nil {
		return nil, q.Refused.Code
	}
	if d.behaviour.Exception != 0 {
		return nil, d.behaviour.Exception
	}
	answer, code := d.table(q.Request)
	if code != 0 {
		return nil, code
	}
	pdu, err := modbus.AppendResponse(make([]byte, 0, 8+len(answer.Data)), q.Request, answer)
	if err != nil {
		return nil, modbus.DeviceFailure
	}
	return pdu, 0
}

// table carries out requests on the tables; code is the exception, 0 for none.
func (d *Device) table(r modbus.Request) (answer modbus.Response, code uint8) {
	switch r.Function {
	case modbus.ReadCoils:
		return d.readBits(Coils, r)
	case modbus.ReadDiscreteInputs:
		return d.readBits(DiscreteInputs, r)
	case modbus.ReadHoldingRegisters:
		return d.readRegisters(HoldingRegisters, r)
	case modbus.ReadInputRegisters:
		return d.readRegisters(InputRegisters, r)
	case modbus.WriteSingleCoil:
		return answer, d.write(Coils, r.Address, []uint16{uint16(r.Data[0] & 1)})
	case modbus.WriteMultipleCoils:
		return answer, d.write(Coils, r.Address, unpack(r.Data, int(r.Quantity)))
	case modbus.WriteSingleRegister, modbus.WriteMultipleRegisters:
		return answer, d.write(HoldingRegisters, r.Address, words(r.Data))
	case modbus.MaskWriteRegister:
		now, ok := d.banks[HoldingRegisters].get(int(r.Address), 1)
		if !ok {
			return answer, modbus.IllegalAddress
		}
		mask := words(r.Data)
		return answer, d.write(HoldingRegisters, r.Address, []uint16{now[0]&mask[0] | mask[1]&^mask[0]})
	case modbus.ReadWriteMultipleRegisters:
		return d.readWrite(r)
	}
	return d.serve(r)
}

// readWrite writes before it reads.
func (d *Device) readWrite(r modbus.Request) (answer modbus.Response, code uint8) {
	if _, ok := d.banks[HoldingRegisters].get(int(r.Address), int(r.Quantity)); !ok {
		return answer, modbus.IllegalAddress
	}
	if code := d.write(HoldingRegisters, r.WriteAddress, words(r.Data)); code != 0 {
		return answer, code
	}
	return d.readRegisters(HoldingRegisters, r)
}

func (d *Device) write(t Table, address uint16, values []uint16) (code uint8) {
	if !d.banks[t].set(int(address), values) {
		return modbus.IllegalAddress
	}
	d.writes.Add(1)
	if d.changed != nil {
		d.changed(t, address, values)
	}
	return 0
}

func (d *Device) readRegisters(t Table, r modbus.Request) (answer modbus.Response, code uint8) {
	values, ok := d.banks[t].get(int(r.Address), int(r.Quantity))
	if !ok {
		return answer, modbus.IllegalAddress
	}
	answer.Data = make([]byte, 0, 2*len(values))
	for _, v := range values {
		answer.Data = binary.BigEndian.AppendUint16(answer.Data, v)
	}
	return answer, 0
}

func (d *Device) readBits(t Table, r modbus.Request) (answer modbus.Response, code uint8) {
	values, ok := d.banks[t].get(int(r.Address), int(r.Quantity))
	if !ok {
		return answer, modbus.IllegalAddress
	}
	answer.Data = make([]byte, (len(values)+7)/8)
	for i, v := range values {
		if v != 0 {
			answer.Data[i/8] |= 1 << (i % 8)
		}
	}
	return answer, 0
}

func unpack(bits []byte, n int) []uint16 {
	out := make([]uint16, n)
	for i := range out {
		out[i] = uint16(bits[i/8] >> (i % 8) & 1)
	}
	return out
}

func words(b []byte) []uint16 {
	out := make([]uint16, len(b)/2)
	for i := range out {
		out[i] = binary.BigEndian.Uint16(b[2*i:])
	}
	return out
}
