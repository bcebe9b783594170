package modbus

import (
	"encoding/binary"
	"time"
)

const (
	// A connection of Modbus TCP is one of hundreds, and hardly ever has a frame that is longer than its beginning tells.
	ringSize    = 1 << 10
	ringSizeTCP = 1 << 9
	ringHead    = 14 // time, direction and mark, unit, function, size, kept bytes
	// keptGood and keptBad are how many bytes of a frame are kept. One that is not as it should be is worth more.
	keptGood = 48
	keptBad  = 160
)

// ring keeps the last frames in a fixed number of bytes, one after the other, the oldest of which give way. It allocates once, when the first
// frame comes: as much as size says.
type ring struct {
	buf        []byte
	epoch      time.Time
	begin, end uint // count for ever; the size is a power of two
}

func (r *ring) keep(f Frame, size uint) {
	if r.buf == nil {
		r.buf, r.epoch = make([]byte, size), f.At
	}
	size = uint(len(r.buf))
	most := keptGood
	if f.Mark != Good && f.Mark != Late {
		most = keptBad
	}
	kept := f.Bytes[:min(len(f.Bytes), most)]
	for need := uint(ringHead + len(kept)); r.end+need-r.begin > size; {
		r.begin += ringHead + uint(r.at(r.begin+ringHead-1))
	}
	var head [ringHead]byte
	binary.LittleEndian.PutUint64(head[:], uint64(f.At.Sub(r.epoch)))
	head[8] = byte(f.Direction)<<4 | byte(f.Mark)
	head[9], head[10] = f.Unit, f.Function
	binary.LittleEndian.PutUint16(head[11:], uint16(f.Size))
	head[13] = byte(len(kept))
	r.put(head[:])
	r.put(kept)
}

func (r *ring) at(i uint) byte { return r.buf[i%uint(len(r.buf))] }

func (r *ring) put(b []byte) {
	n := copy(r.buf[r.end%uint(len(r.buf)):], b)
	copy(r.buf[:], b[n:])
	r.end += uint(len(b))
}

func (r *ring) take(b []byte, from uint) {
	n := copy(b, r.buf[from%uint(len(r.buf)):])
	copy(b[n:], r.buf[:])
}

// frames are those that are kept, the oldest first. Their times are told by the clock as it is now, which may have been set since.
func (r *ring) frames() []Frame {
	if r.buf == nil {
		return nil
	}
	now := time.Now()
	since := now.Sub(r.epoch)
	var all []Frame
	for i := r.begin; i != r.end; {
		var head [ringHead]byte
		r.take(head[:], i)
		f := Frame{
			At:        now.Add(time.Duration(binary.LittleEndian.Uint64(head[:])) - since),
			Direction: Direction(head[8] >> 4), Mark: Mark(head[8] & 15), Unit: head[9], Function: head[10],
			Bytes: make([]byte, head[13]), Size: int(binary.LittleEndian.Uint16(head[11:])),
		}
		r.take(f.Bytes, i+ringHead)
		i += ringHead + uint(len(f.Bytes))
		all = append(all, f)
	}
	return all
}
