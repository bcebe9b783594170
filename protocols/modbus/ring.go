package modbus

import (
	"encoding/binary"
	"time"
)

const (
	// There are hundreds of Modbus TCP connections, and their frames are rarely longer than the
	// part that is kept.
	ringSize    = 1 << 10
	ringSizeTCP = 1 << 9
	ringHead    = 14 // time, direction and mark, unit, function, size, number of kept bytes
	// keptGood and keptBad are the number of bytes kept of a frame. Of a faulty frame more is kept.
	keptGood = 48
	keptBad  = 160
)

// ring keeps the latest frames in a buffer of fixed size. New frames overwrite the oldest ones. The
// buffer is allocated once, when the first frame is kept.
type ring struct {
	buf        []byte
	epoch      time.Time
	begin, end uint // never wrap around; the buffer size is a power of two
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

// frames returns the kept frames, oldest first. Their times are relative to the current wall clock,
// which may have been set since.
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
