package mdi

// A Batch is a list of blocks of records. Pack makes it, Names.Unpack decodes it.
type Batch struct {
	Seconds      uint32
	Milliseconds uint16
	Blocks       []Block
}

type Block struct {
	Track    uint32
	Sequence uint64 // of the first row
	Boot     uint8
	Trusted  bool
	Uptime   int64 // of the first row, in milliseconds
	Columns  []Column
	Rows     []Row
	Cells    []Cell
}

type Column struct {
	Field uint16
	Form  Form
	Scale int8 // for Decimal and Single: the power of ten
}

// Form is the type of the numbers in a column.
type Form int

const (
	Other Form = iota
	Signed
	Unsigned
	Decimal
	Single
)

type Row struct {
	Skip   uint16
	Absent bool
	Note   string // why, if Absent; otherwise the cause, or empty
	Step   Step
	Later  int64 // milliseconds, encoded as in Step
}

// Step says how the time of a row is encoded.
type Step int

const (
	Even Step = iota
	Jitter
	Plain
	Far
)

type Cell struct {
	Kind  CellKind
	N     int64       // deltas and numbers; for runs, the number of rows
	Other *OtherValue // of kind OtherCell
}

type CellKind uint8

const (
	Same CellKind = iota
	Absent
	Delta4
	Delta8
	Delta16
	Number
	SameRun
	OtherCell
	AbsentRun // is a SameRun on the wire
)

// OtherValue is a value in full, or the previous value with another quality.
type OtherValue struct {
	Kept    bool // the value is unchanged
	Value   any  // nil, bool, int64, uint64, float64, string, []byte
	Quality string
	Cause   string
}

const (
	maxFieldID = 1<<14 - 1
	maxRanges  = 255
	maxColumns = 1023
	maxOfBlock = 255
	maxRows    = 1024  // per batch
	maxCells   = 65535 // per batch, with runs counted as the cells they represent

	minScale, maxScale = -15, 16
)

func (m *Batch) code(c *coder) {
	c.sequence(func() {
		between(c, &m.Seconds, 0, 1<<32-1)
		between(c, &m.Milliseconds, 0, 999)
		list(c, &m.Blocks, 1, maxOfBlock, (*coder).block)
	})
	if rows, cells := m.size(); c.err == nil && (rows > maxRows || cells > maxCells) {
		c.fail("%d rows and %d cells: more than %d and %d", rows, cells, maxRows, maxCells)
	}
}

func (m *Batch) size() (rows, cells int) {
	for _, b := range m.Blocks {
		rows += len(b.Rows)
		cells += len(b.Rows) * len(b.Columns)
	}
	return rows, cells
}

func (c *coder) block(b *Block) {
	c.sequence(func() {
		between(c, &b.Track, 0, 1<<32-1)
		c.natural(&b.Sequence)
		between(c, &b.Boot, 0, 255)
		c.bool(&b.Trusted)
		c.integer(&b.Uptime)
		list(c, &b.Columns, 0, maxColumns, (*coder).column)
		list(c, &b.Rows, 1, maxOfBlock, (*coder).row)
		list(c, &b.Cells, 0, maxCells, (*coder).cell)
	})
}

func (c *coder) column(v *Column) {
	between(c, &v.Field, 0, maxFieldID)
	if !c.choice((*int)(&v.Form), 5, true) {
		c.fail("an unknown form of numbers")
		return
	}
	if v.Form >= Decimal {
		scale := int64(v.Scale)
		between(c, &scale, minScale, maxScale)
		v.Scale = int8(scale)
	}
}

func (c *coder) row(r *Row) {
	skip, note := r.Skip > 0, r.Absent || r.Note != ""
	c.bool(&skip)
	c.bool(&note)
	if skip {
		between(c, &r.Skip, 1, 65535)
	}
	if note {
		c.note(r)
	}
	switch c.choice((*int)(&r.Step), 4, false); r.Step {
	case Jitter:
		between(c, &r.Later, -128, 127)
	case Plain:
		between(c, &r.Later, -1<<31, 1<<31-1)
	case Far:
		c.integer(&r.Later)
	}
}

func (c *coder) note(r *Row) {
	kind := 0
	if !r.Absent {
		kind = 1
	}
	if !c.choice(&kind, 2, true) {
		c.fail("an unknown kind of note")
		return
	}
	if r.Absent = kind == 0; r.Absent {
		c.text(&r.Note)
		return
	}
	c.optional(&r.Note, true)
}

func (c *coder) cell(v *Cell) {
	kind := int(v.Kind)
	if v.Kind == AbsentRun {
		kind = int(SameRun)
	}
	c.choice(&kind, 8, false)
	switch CellKind(kind) {
	case Delta4:
		between(c, &v.N, -8, 7)
	case Delta8:
		between(c, &v.N, -128, 127)
	case Delta16:
		between(c, &v.N, -1<<15, 1<<15-1)
	case Number:
		c.integer(&v.N)
	case SameRun:
		absent := v.Kind == AbsentRun
		c.bool(&absent)
		between(c, &v.N, 2, 257)
		if absent {
			kind = int(AbsentRun)
		}
	case OtherCell:
		if !c.writing {
			v.Other = &OtherValue{}
		}
		c.other(v.Other)
	}
	v.Kind = CellKind(kind)
}

func (c *coder) other(o *OtherValue) {
	value, cause := !o.Kept, o.Cause != ""
	c.bool(&value)
	c.bool(&cause)
	if o.Kept = !value; value {
		c.value(&o.Value)
	}
	c.quality(&o.Quality)
	c.optional(&o.Cause, cause)
}

// qualities are those with a number.
var qualities = [...]string{"", "stale", "bad"}

func (c *coder) quality(q *string) {
	kind := 0
	for kind < len(qualities) && qualities[kind] != *q {
		kind++
	}
	if !c.choice(&kind, int64(len(qualities))+1, true) {
		c.fail("an unknown quality")
		return
	}
	if kind < len(qualities) {
		*q = qualities[kind]
		return
	}
	c.text(q)
	for _, known := range qualities {
		if c.err == nil && *q == known {
			c.fail("quality %q has a number", *q)
		}
	}
}

func (c *coder) value(v *any) {
	kind := 0
	switch (*v).(type) {
	case bool:
		kind = 1
	case int64:
		kind = 2
	case uint64:
		kind = 3
	case float64:
		kind = 4
	case string:
		kind = 5
	case []byte:
		kind = 6
	}
	if !c.choice(&kind, 7, true) {
		c.fail("an unknown type of value")
		return
	}
	switch kind {
	case 1:
		as(c, v, (*coder).bool)
	case 2:
		as(c, v, (*coder).integer)
	case 3:
		as(c, v, (*coder).natural)
	case 4:
		as(c, v, (*coder).double)
	case 5:
		as(c, v, (*coder).text)
	case 6:
		as(c, v, octets[[]byte])
	}
}

// as codes a value of a type.
func as[T any](c *coder, v *any, code func(*coder, *T)) {
	x, _ := (*v).(T)
	if code(c, &x); c.err == nil {
		*v = x
	}
}
