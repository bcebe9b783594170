package mdi

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gatewayd/protocols/record"
)

// driftless is how far uptime may deviate from the time within a block: both are rounded to
// milliseconds.
const driftless = 2 // milliseconds

// maxName is the longest name that is sent, in octets.
const maxName = 255

// fits returns why a record can never be sent; nil if it can.
func fits(r record.Record) error {
	if len(r.Fields) > maxColumns {
		return fmt.Errorf("%d fields: more than %d", len(r.Fields), maxColumns)
	}
	if len(valid(r.Track)) > maxName || len(valid(r.Boot)) > maxName {
		return fmt.Errorf("its track or boot has a name of more than %d octets", maxName)
	}
	ids := make(map[uint32]bool, len(r.Fields))
	for _, f := range r.Fields {
		switch {
		case f.ID > maxFieldID:
			return fmt.Errorf("field %s has number %d: more than %d", f.Name, f.ID, maxFieldID)
		case ids[f.ID]:
			return fmt.Errorf("two fields have number %d, one of them is %s", f.ID, f.Name)
		case len(valid(f.Name)) > maxName || len(valid(f.Unit)) > maxName:
			return fmt.Errorf("the name or unit of field %d has more than %d octets", f.ID, maxName)
		}
		ids[f.ID] = true
		switch f.Value.(type) {
		case nil, bool, int64, uint64, float64, string, []byte:
		default:
			return fmt.Errorf("field %s is a %T", f.Name, f.Value)
		}
	}
	return nil
}

// Pack makes a batch of records that fit. It preserves the order within each track. boot returns
// the index of a boot.
func Pack(records []record.Record, boot func(id string) uint8) *Batch {
	m := &Batch{}
	if len(records) == 0 {
		return m
	}
	base := min(max(records[0].Time.UnixMilli(), 0), (1<<32)*1000-1)
	m.Seconds, m.Milliseconds = uint32(base/1000), uint16(base%1000)
	var open []*packer // the last block of each track
	var all []*packer
	for _, r := range records {
		at := slices.IndexFunc(open, func(p *packer) bool { return p.block.Track == r.Number })
		if at < 0 || !open[at].takes(r) {
			p := &packer{}
			if all = append(all, p); at < 0 {
				open, at = append(open, p), len(open)
			} else {
				open[at] = p
			}
			p.begin(r, base, boot(r.Boot))
		}
		open[at].row(r)
	}
	for _, p := range all {
		m.Blocks = append(m.Blocks, p.finish())
	}
	return m
}

// packer makes one block.
type packer struct {
	block   Block
	records []record.Record
	fields  map[uint16]bool

	start, last, step int64 // milliseconds: time of the first row, of the last row, and the step
}

func (p *packer) begin(r record.Record, base int64, boot uint8) {
	p.block = Block{Track: r.Number, Sequence: r.Sequence, Boot: boot, Trusted: r.Trusted, Uptime: r.Uptime.Milliseconds()}
	p.fields = map[uint16]bool{}
	p.start, p.last = r.Time.UnixMilli(), base
}

// takes reports whether a record can be the next row.
func (p *packer) takes(r record.Record) bool {
	last := p.records[len(p.records)-1]
	if r.Boot != last.Boot || r.Trusted != last.Trusted || len(p.records) == maxOfBlock ||
		r.Sequence <= last.Sequence || r.Sequence-last.Sequence > 1<<16 {
		return false
	}
	drift := r.Uptime.Milliseconds() - p.block.Uptime - (r.Time.UnixMilli() - p.start)
	if drift < -driftless || drift > driftless {
		return false
	}
	added := 0
	for _, f := range r.Fields {
		if !p.fields[uint16(f.ID)] {
			added++
		}
	}
	return len(p.fields)+added <= maxColumns
}

func (p *packer) row(r record.Record) {
	row := Row{Absent: r.Absent, Note: valid(r.Cause)}
	if n := len(p.records); n > 0 {
		row.Skip = uint16(r.Sequence - p.records[n-1].Sequence - 1)
	}
	now := r.Time.UnixMilli()
	step := now - p.last
	switch jitter := step - p.step; {
	case jitter == 0:
	case jitter >= -128 && jitter <= 127:
		row.Step, row.Later = Jitter, jitter
	case step >= -1<<31 && step < 1<<31:
		row.Step, row.Later = Plain, step
	default:
		row.Step, row.Later = Far, step
	}
	p.last, p.step = now, step
	if r.Absent {
		r.Fields = nil
	}
	for _, f := range r.Fields {
		p.fields[uint16(f.ID)] = true
	}
	p.block.Rows = append(p.block.Rows, row)
	p.records = append(p.records, r)
}

func (p *packer) finish() Block {
	for id := range p.fields {
		p.block.Columns = append(p.block.Columns, Column{Field: id})
	}
	slices.SortFunc(p.block.Columns, func(a, b Column) int { return cmp.Compare(a.Field, b.Field) })
	column := make([]*record.Field, len(p.records))
	for i := range p.block.Columns {
		id := uint32(p.block.Columns[i].Field)
		for at, r := range p.records {
			column[at] = nil
			if n := slices.IndexFunc(r.Fields, func(f record.Field) bool { return f.ID == id }); n >= 0 {
				column[at] = &r.Fields[n]
			}
		}
		p.column(&p.block.Columns[i], column)
	}
	return p.block
}

// column adds the cells of one field; nil for records without it.
func (p *packer) column(c *Column, fields []*record.Field) {
	values := make([]any, 0, len(fields))
	for _, f := range fields {
		if f != nil && f.Quality == "" && f.Cause == "" {
			values = append(values, f.Value)
		}
	}
	c.Form, c.Scale = formOf(values)
	var last cellState
	cells := make([]Cell, 0, len(fields))
	for _, f := range fields {
		cells = append(cells, last.cell(*c, f))
	}
	p.block.Cells = append(p.block.Cells, runs(cells)...)
}

// cellState is the state that the cells of a column have built up so far.
type cellState struct {
	some           bool
	value          any
	quality, cause string
	mantissa       int64
}

func (s *cellState) cell(c Column, f *record.Field) Cell {
	if f == nil {
		return Cell{Kind: Absent}
	}
	kept := s.some && equal(s.value, f.Value)
	quality, cause := valid(f.Quality), valid(f.Cause)
	if kept && s.quality == quality && s.cause == cause {
		return Cell{Kind: Same}
	}
	s.some, s.value, s.quality, s.cause = true, f.Value, quality, cause
	if m, ok := c.mantissa(f.Value); ok && quality == "" && cause == "" {
		d := m - s.mantissa
		wraps := (d > 0) != (m > s.mantissa) && d != 0
		s.mantissa = m
		switch {
		case wraps:
			return Cell{Kind: Number, N: m}
		case d >= -8 && d <= 7:
			return Cell{Kind: Delta4, N: d}
		case d >= -128 && d <= 127:
			return Cell{Kind: Delta8, N: d}
		case d >= -1<<15 && d < 1<<15:
			return Cell{Kind: Delta16, N: d}
		}
		return Cell{Kind: Number, N: m}
	}
	o := &OtherValue{Kept: kept, Quality: quality, Cause: cause}
	if !kept {
		o.Value = f.Value
		if text, ok := f.Value.(string); ok {
			o.Value = valid(text)
		}
	}
	return Cell{Kind: OtherCell, Other: o}
}

// worth is the number of equal cells from which a run is shorter.
const worth = 5

// runs replaces long sequences of Same or Absent cells by runs.
func runs(cells []Cell) []Cell {
	out := cells[:0]
	for i := 0; i < len(cells); {
		n := 1
		for i+n < len(cells) && cells[i].Kind <= Absent && cells[i+n].Kind == cells[i].Kind {
			n++
		}
		switch kind := cells[i].Kind; {
		case n >= worth && kind == Same:
			out = append(out, Cell{Kind: SameRun, N: int64(n)})
		case n >= worth && kind == Absent:
			out = append(out, Cell{Kind: AbsentRun, N: int64(n)})
		default:
			out = append(out, cells[i:i+n]...)
		}
		i += n
	}
	return out
}

// valid returns a text that may be sent.
func valid(text string) string { return strings.ToValidUTF8(text, "\ufffd") }
