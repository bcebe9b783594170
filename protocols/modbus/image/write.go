package image

import (
	"encoding/binary"
	"sort"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/points"
)

// Write is a value that a master writes to a point.
type Write struct {
	Index int // of the point, as passed to New
	Value points.Value
}

// Writes returns the values that a write request sets, in the order of their addresses. code is the
// exception to answer instead, 0 for none: 2 if an address holds no point or one that masters may
// not write, 3 if the request covers only part of a value of several registers or its bytes are not
// a valid value, 4 if only some bits of a register are to be changed and the others are unknown.
//
// Of points that share a register, only those whose bits change are written, or all if none does.
func (m *Image) Writes(r modbus.Request) (writes []Write, code uint8) {
	w := want{unit: r.Unit, area: areaOf(r.Function), first: int(r.Address)}
	switch r.Function {
	case modbus.WriteSingleCoil:
		w.words, w.masks = []uint16{uint16(r.Data[0] & 1)}, []uint16{1}
	case modbus.WriteMultipleCoils:
		for i := range int(r.Quantity) {
			w.words, w.masks = append(w.words, uint16(r.Data[i/8]>>(i%8)&1)), append(w.masks, 1)
		}
	case modbus.MaskWriteRegister:
		and := binary.BigEndian.Uint16(r.Data)
		w.words, w.masks = []uint16{binary.BigEndian.Uint16(r.Data[2:])}, []uint16{^and}
	default:
		if r.Function == modbus.ReadWriteMultipleRegisters {
			w.first = int(r.WriteAddress)
		}
		for i := 0; i+1 < len(r.Data); i += 2 {
			w.words, w.masks = append(w.words, binary.BigEndian.Uint16(r.Data[i:])), append(w.masks, 0xffff)
		}
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return w.resolve(m.tables[key{w.unit, w.area}])
}

// want is a range of registers or bits to write: words where masks are set.
type want struct {
	unit  uint8
	area  string
	first int
	words []uint16
	masks []uint16
}

func (w want) end() int { return w.first + len(w.words) }

func (w want) resolve(t *table) (writes []Write, code uint8) {
	if t.segment(w.first, len(w.words)) == nil {
		return nil, modbus.IllegalAddress
	}
	var parts, same []Write
	next := w.first // the first address not yet claimed by a point
	for i := t.from(w.first); i < len(t.points) && int(t.points[i].Address) < w.end(); i++ {
		h := t.points[i]
		if int(h.Address) > next {
			return nil, modbus.IllegalAddress
		}
		next = max(next, h.end())
		if h.Partial() {
			write, changed, code := w.part(h)
			switch {
			case code != 0:
				return nil, code
			case write == nil:
			case changed:
				parts = append(parts, *write)
			default:
				same = append(same, *write)
			}
			continue
		}
		write, code := w.whole(h)
		if code != 0 {
			return nil, code
		}
		parts = append(parts, write)
	}
	switch {
	case next < w.end():
		return nil, modbus.IllegalAddress
	case len(parts) == 0:
		return same, 0
	}
	return parts, 0
}

// from returns the index of the first point that reaches address or beyond.
func (t *table) from(address int) int {
	i := sort.Search(len(t.points), func(i int) bool { return int(t.points[i].Address) >= address })
	for i > 0 && t.points[i-1].end() > address {
		i--
	}
	return i
}

// whole returns the new value of a point that does not share its registers.
func (w want) whole(h *held) (Write, uint8) {
	from, n := int(h.Address)-w.first, h.size()
	switch {
	case !h.Writable:
		return Write{}, modbus.IllegalAddress
	case from < 0 || from+n > len(w.words):
		return Write{}, modbus.IllegalValue
	}
	now := h.at.words[int(h.Address)-h.at.first:][:n]
	data := make([]byte, 0, 2*n)
	for i := range n {
		mask := w.masks[from+i]
		if mask != 0xffff && !h.Bits() && !h.good {
			return Write{}, modbus.DeviceFailure
		}
		data = binary.BigEndian.AppendUint16(data, now[i]&^mask|w.words[from+i]&mask)
	}
	if h.Bits() {
		return Write{h.index, points.Flag(w.words[from] != 0)}, 0
	}
	v, err := h.face.Decode(data)
	if err != nil {
		return Write{}, modbus.IllegalValue
	}
	return Write{h.index, v}, 0
}

// part returns the new value of a point that shares its register, or nil if the request does not
// touch it.
func (w want) part(h *held) (write *Write, changed bool, code uint8) {
	at, own := int(h.Address)-w.first, h.own()
	mask := w.masks[at]
	if mask&own == 0 {
		return nil, false, 0
	}
	now := h.at.words[int(h.Address)-h.at.first]
	if mask&own != own && !h.good {
		return nil, false, modbus.DeviceFailure
	}
	word := now&^mask | w.words[at]&mask
	changed = !h.good || (word^now)&own != 0
	if !h.Writable {
		if changed {
			return nil, false, modbus.IllegalAddress
		}
		return nil, false, 0
	}
	v, err := h.face.Decode(binary.BigEndian.AppendUint16(nil, word))
	if err != nil {
		return nil, false, modbus.IllegalValue
	}
	return &Write{h.index, v}, changed, 0
}
