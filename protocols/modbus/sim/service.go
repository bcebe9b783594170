package sim

import (
	"encoding/binary"
	"slices"

	"gatewayd/protocols/modbus"
)

// service holds what a device has in addition to its four tables.
type service struct {
	status  uint8               // for function 7
	id      []byte              // for function 17; nil: exception 1
	objects []modbus.Object     // for function 43, in the order of their numbers; none: exception 1
	queues  map[uint16][]uint16 // for function 24
	files   map[uint16][]uint16 // for functions 20 and 21
	desk    desk                // for functions 8, 11 and 12
}

// Status sets the eight exception status coils that function 7 reads, the first in the lowest bit.
func (d *Device) Status(coils uint8) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.service.status = coils
}

// ServerID sets the answer to function 17: the ID, FF or 00 for running or not, and vendor-specific
// bytes; at most 251 bytes in all.
func (d *Device) ServerID(id ...byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.service.id = slices.Clone(id)
}

// Identity sets the objects of the device identification, function 43. A value has at most 246
// bytes, because it must fit into one answer.
func (d *Device) Identity(objects map[uint8]string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.service.objects = nil
	for id, v := range objects {
		d.service.objects = append(d.service.objects, modbus.Object{ID: id, Value: []byte(v)})
	}
	slices.SortFunc(d.service.objects, func(a, b modbus.Object) int { return int(a.ID) - int(b.ID) })
}

// Queue sets the contents of a queue of function 24. More than 31 registers result in exception 3,
// as the specification requires.
func (d *Device) Queue(address uint16, values ...uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.service.queues == nil {
		d.service.queues = map[uint16][]uint16{}
	}
	d.service.queues[address] = slices.Clone(values)
}

// File creates a file of registers that starts with record 0.
func (d *Device) File(number uint16, records ...uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.service.files == nil {
		d.service.files = map[uint16][]uint16{}
	}
	d.service.files[number] = slices.Clone(records)
}

// Records returns the contents of a file.
func (d *Device) Records(number uint16) []uint16 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.service.files[number])
}

// serve carries out the functions that are not about tables. The device is locked.
func (d *Device) serve(r modbus.Request) (answer modbus.Response, code uint8) {
	s := &d.service
	switch r.Function {
	case modbus.ReadExceptionStatus:
		answer.Data = []byte{s.status}
	case modbus.Diagnostics:
		return s.desk.diagnose(r.Data), 0
	case modbus.ReadEventCounter:
		answer.Data = s.desk.counter()
	case modbus.ReadEventLog:
		answer.Data = s.desk.log()
	case modbus.ReportServerID:
		if s.id == nil {
			return answer, modbus.IllegalFunction
		}
		answer.Data = s.id
	case modbus.ReadFIFOQueue:
		return s.queue(r.Address)
	case modbus.ReadFileRecord:
		return s.readFiles(r.Files())
	case modbus.WriteFileRecord:
		code = s.writeFiles(r.Files())
		if code == 0 {
			d.writes.Add(1)
		}
	case modbus.EncapsulatedInterface:
		return s.identify(r.Data[1], r.Data[2])
	default:
		code = modbus.IllegalFunction
	}
	return answer, code
}

func (s *service) queue(address uint16) (answer modbus.Response, code uint8) {
	values, ok := s.queues[address]
	switch {
	case !ok:
		return answer, modbus.IllegalAddress
	case len(values) > 31:
		return answer, modbus.IllegalValue
	}
	for _, v := range values {
		answer.Data = binary.BigEndian.AppendUint16(answer.Data, v)
	}
	return answer, 0
}

func (s *service) readFiles(runs []modbus.Records) (answer modbus.Response, code uint8) {
	for i, run := range runs {
		file, first := s.files[run.File], int(run.Record)
		if first+int(run.Length) > len(file) {
			return answer, modbus.IllegalAddress
		}
		runs[i].Values = file[first : first+int(run.Length)]
	}
	answer.Data = modbus.AppendFiles(nil, runs...)
	return answer, 0
}

// writeFiles changes nothing if one of the runs does not exist.
func (s *service) writeFiles(runs []modbus.Records) (code uint8) {
	for _, run := range runs {
		if int(run.Record)+len(run.Values) > len(s.files[run.File]) {
			return modbus.IllegalAddress
		}
	}
	for _, run := range runs {
		copy(s.files[run.File][run.Record:], run.Values)
	}
	return 0
}

// identify returns as many objects as fit into one answer (V1.1b3 §6.21).
func (s *service) identify(category, first uint8) (answer modbus.Response, code uint8) {
	if len(s.objects) == 0 {
		return answer, modbus.IllegalFunction
	}
	id := modbus.Identification{Conformity: 0x80 + s.conformity()}
	from := slices.IndexFunc(s.objects, func(o modbus.Object) bool { return o.ID == first })
	switch {
	case category == modbus.OneObject && from < 0:
		return answer, modbus.IllegalAddress
	case category == modbus.OneObject:
		id.Objects = s.objects[from : from+1]
	default:
		if from < 0 || first > last(category) {
			from = 0
		}
		room := 253 - 7
		for _, o := range s.objects[from:] {
			if o.ID > last(category) {
				break
			}
			if room -= 2 + len(o.Value); room < 0 {
				id.More, id.Next = true, o.ID
				break
			}
			id.Objects = append(id.Objects, o)
		}
	}
	answer.Data = modbus.AppendIdentification(nil, category, id)
	return answer, 0
}

// last returns the last object of a category.
func last(category uint8) uint8 {
	switch category {
	case modbus.BasicIdentification:
		return 2
	case modbus.RegularIdentification:
		return 127
	}
	return 255
}

func (s *service) conformity() uint8 {
	switch top := s.objects[len(s.objects)-1].ID; {
	case top <= last(modbus.BasicIdentification):
		return modbus.BasicIdentification
	case top <= last(modbus.RegularIdentification):
		return modbus.RegularIdentification
	}
	return modbus.ExtendedIdentification
}
