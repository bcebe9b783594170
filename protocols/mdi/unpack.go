package mdi

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"time"

	"gatewayd/protocols/record"
)

// Names are the names behind the numbers of a session.
type Names struct {
	tracks map[uint32]*trackNames
	boots  map[uint8]string
}

type trackNames struct {
	name   string
	fields map[uint16]Field
}

// maxTracks is how many tracks a session may name.
const maxTracks = 4096

// Track handles a message that names a track and fields of it.
func (n *Names) Track(m *Track) error {
	if n.tracks == nil {
		n.tracks = map[uint32]*trackNames{}
	}
	t, known := n.tracks[m.Number]
	if !known {
		if len(n.tracks) == maxTracks {
			return fmt.Errorf("more than %d tracks", maxTracks)
		}
		t = &trackNames{fields: map[uint16]Field{}}
		n.tracks[m.Number] = t
	}
	t.name = m.Name
	for _, f := range m.Fields {
		t.fields[f.ID] = f
	}
	return nil
}

// Boot handles a message that names a boot.
func (n *Names) Boot(m *Boot) {
	if n.boots == nil {
		n.boots = map[uint8]string{}
	}
	n.boots[m.Index] = m.ID
}

// Unpack returns the records of a batch, block by block, with fields in ascending order of their
// number. An error means that the batch is invalid, or that names are missing.
func (n *Names) Unpack(m *Batch) ([]record.Record, error) {
	var all []record.Record
	base := int64(m.Seconds)*1000 + int64(m.Milliseconds)
	for i := range m.Blocks {
		rows, err := n.block(&m.Blocks[i], base)
		if err != nil {
			return nil, fmt.Errorf("track %d: %w", m.Blocks[i].Track, err)
		}
		all = append(all, rows...)
	}
	return all, nil
}

func (n *Names) block(b *Block, base int64) ([]record.Record, error) {
	track, ok := n.tracks[b.Track]
	if !ok {
		return nil, errors.New("it has no name")
	}
	boot, ok := n.boots[b.Boot]
	if !ok {
		return nil, fmt.Errorf("boot %d has no name", b.Boot)
	}
	rows := make([]record.Record, len(b.Rows))
	now, step, sequence := base, int64(0), b.Sequence
	for i, r := range b.Rows {
		if i > 0 {
			sequence += uint64(r.Skip) + 1
		}
		if i == 0 && r.Skip > 0 || sequence < b.Sequence {
			return nil, errors.New("impossible sequences")
		}
		switch r.Step {
		case Jitter:
			step += r.Later
		case Plain, Far:
			step = r.Later
		}
		if now += step; now < -maxTime || now > maxTime {
			return nil, errors.New("an impossible time")
		}
		rows[i] = record.Record{
			Track: track.name, Number: b.Track, Sequence: sequence, Time: time.UnixMilli(now).UTC(), Trusted: b.Trusted, Boot: boot,
			Absent: r.Absent, Cause: r.Note,
		}
	}
	for i := range rows {
		up := b.Uptime + rows[i].Time.UnixMilli() - rows[0].Time.UnixMilli()
		if up < -maxTime || up > maxTime {
			return nil, errors.New("an impossible uptime")
		}
		rows[i].Uptime = time.Duration(up) * time.Millisecond
	}
	cells := b.Cells
	for i, c := range b.Columns {
		if i > 0 && c.Field <= b.Columns[i-1].Field {
			return nil, errors.New("fields out of order")
		}
		f, ok := track.fields[c.Field]
		if !ok {
			return nil, fmt.Errorf("field %d has no name", c.Field)
		}
		var err error
		if cells, err = column(c, f, rows, cells); err != nil {
			return nil, fmt.Errorf("field %d: %w", c.Field, err)
		}
	}
	if len(cells) > 0 {
		return nil, errors.New("more cells than fields and rows")
	}
	return rows, nil
}

// maxTime is 250 years in milliseconds, within the range of a duration.
const maxTime = 250 * 365 * 24 * 3600 * 1000

// column adds a field to the rows and returns the cells after its own.
func column(c Column, f Field, rows []record.Record, cells []Cell) ([]Cell, error) {
	var s cellState
	for at := 0; at < len(rows); {
		if len(cells) == 0 {
			return nil, errors.New("fewer cells than rows")
		}
		v := cells[0]
		cells = cells[1:]
		n := 1
		if v.Kind == SameRun || v.Kind == AbsentRun {
			n = int(v.N)
		}
		if n > len(rows)-at {
			return nil, errors.New("a run beyond the last row")
		}
		if v.Kind == Absent || v.Kind == AbsentRun {
			at += n
			continue
		}
		if err := s.take(c, v); err != nil {
			return nil, err
		}
		for range n {
			if rows[at].Absent {
				return nil, errors.New("a value in a record of absence")
			}
			rows[at].Fields = append(rows[at].Fields, record.Field{
				Name: f.Name, ID: uint32(f.ID), Unit: f.Unit, Value: s.value, Quality: s.quality, Cause: s.cause,
			})
			at++
		}
	}
	return cells, nil
}

// take applies a cell that is not absent.
func (s *cellState) take(c Column, v Cell) error {
	switch v.Kind {
	case Same, SameRun:
		if !s.some {
			return errors.New("a repetition without a previous value")
		}
		return nil
	case OtherCell:
		if v.Other.Kept && !s.some {
			return errors.New("a value without a field")
		}
		if !v.Other.Kept {
			s.value = v.Other.Value
		}
		s.some, s.quality, s.cause = true, v.Other.Quality, v.Other.Cause
		return nil
	}
	m := v.N
	if v.Kind != Number {
		m += s.mantissa
		if (v.N > 0) != (m > s.mantissa) && v.N != 0 {
			return errors.New("a number beyond 64 bits")
		}
	}
	if c.Form == Other || c.Form == Unsigned && m < 0 {
		return errors.New("a number where none is allowed")
	}
	s.some, s.mantissa, s.value, s.quality, s.cause = true, m, c.number(m), "", ""
	return nil
}

// equal reports whether two values are indistinguishable; a double equals only the same bits.
func equal(a, b any) bool {
	switch x := a.(type) {
	case float64:
		y, ok := b.(float64)
		return ok && math.Float64bits(x) == math.Float64bits(y)
	case []byte:
		y, ok := b.([]byte)
		return ok && bytes.Equal(x, y)
	}
	if _, ok := b.([]byte); ok {
		return false
	}
	return a == b
}
