package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"
)

// ChunkType is the content type of an encoded Chunk.
const ChunkType = "application/vnd.gatewayd.records"

// MaxChunk is the largest number of records in a chunk.
const MaxChunk = 4096

// A Chunk is what is stored as one message: consecutive records of one track, or none; a chunk
// without records only carries the state of the track. Its encoding is compact binary with one
// checksum for the head and one for each record, so that a damaged record does not affect the
// others.
type Chunk struct {
	Track   string   // not encoded: it is in the subject
	Number  uint32   // of the track
	First   uint64   // sequence of the first record; without records, of the next one
	Count   uint64   // number of records when it was written
	Before  uint64   // bytes of all earlier chunks of the track
	Boot    string   // boot in which the records were taken; all records of a chunk are from one boot
	Anchors []Anchor // clock corrections known by then, for this boot or earlier ones
	Records []Record // the intact records
	Damaged []uint64 // sequences of records with a wrong checksum
}

// Next returns the sequence after the last record of the chunk.
func (c *Chunk) Next() uint64 { return c.First + c.Count }

// An Anchor gives the time at which a boot began, by its monotonic clock.
type Anchor struct {
	Boot  string
	Start time.Time
}

const (
	chunkMagic   = "GR"
	chunkVersion = 1
	maxAnchors   = 16
	bootBytes    = 36 // length of a boot id as text
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Flags of an encoded record.
const (
	flagTrusted = 1 << iota
	flagAbsent
	flagCause
)

// Encode returns the stored form of c. Its records must be consecutive from First, and of one boot.
//
// Numbers are varints unless stated otherwise: "GR", version, then the head (track number, first
// sequence, bytes before, boot, base time in ns and base uptime in ns, anchors, field names, count,
// length of each record), the CRC32C of all that, then the records, each followed by its CRC32C.
// Checksums are four bytes, little-endian.
func Encode(c *Chunk) ([]byte, error) {
	if len(c.Records) > MaxChunk {
		return nil, fmt.Errorf("a chunk holds at most %d records, not %d", MaxChunk, len(c.Records))
	}
	e := encoder{fields: map[fieldKey]uint64{}}
	var base time.Time
	var uptime time.Duration
	if len(c.Records) > 0 {
		base, uptime = c.Records[0].Time, c.Records[0].Uptime
	}
	lengths := make([]int, len(c.Records))
	for i := range c.Records {
		r := &c.Records[i]
		if r.Sequence != c.First+uint64(i) || r.Boot != c.Boot {
			return nil, fmt.Errorf("record %d of boot %s does not belong into a chunk from %d of boot %s", r.Sequence, r.Boot, c.First, c.Boot)
		}
		from := len(e.body)
		if err := e.record(r, base, uptime); err != nil {
			return nil, fmt.Errorf("record %d: %w", r.Sequence, err)
		}
		lengths[i] = len(e.body) - from
		e.body = sum(e.body, e.body[from:])
	}
	p := append(make([]byte, 0, len(e.body)+256), chunkMagic...)
	p = append(p, chunkVersion)
	p = binary.AppendUvarint(p, uint64(c.Number))
	p = binary.AppendUvarint(p, c.First)
	p = binary.AppendUvarint(p, c.Before)
	p = text(p, c.Boot)
	p = binary.AppendVarint(p, nanos(base))
	p = binary.AppendVarint(p, int64(uptime))
	p = binary.AppendUvarint(p, uint64(len(c.Anchors)))
	for _, a := range c.Anchors {
		p = text(p, a.Boot)
		p = binary.AppendVarint(p, nanos(a.Start))
	}
	p = binary.AppendUvarint(p, uint64(len(e.names)))
	for _, f := range e.names {
		p = binary.AppendUvarint(text(text(p, f.name), f.unit), uint64(f.id))
	}
	p = binary.AppendUvarint(p, uint64(len(lengths)))
	for _, n := range lengths {
		p = binary.AppendUvarint(p, uint64(n))
	}
	p = sum(p, p)
	return append(p, e.body...), nil
}

// sum appends the checksum of what to p.
func sum(p, what []byte) []byte {
	return binary.LittleEndian.AppendUint32(p, crc32.Checksum(what, castagnoli))
}

func text(p []byte, s string) []byte { return append(binary.AppendUvarint(p, uint64(len(s))), s...) }

// nanos returns t in ns since 1970; 0 for the zero time.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// fieldKey is everything about a field except its value; it is stored once, in the head.
type fieldKey struct {
	name, unit string
	id         uint32
}

type encoder struct {
	body   []byte
	names  []fieldKey
	fields map[fieldKey]uint64
}

func (e *encoder) record(r *Record, base time.Time, uptime time.Duration) error {
	var flags byte
	if r.Trusted {
		flags |= flagTrusted
	}
	if r.Absent {
		flags |= flagAbsent
	}
	if r.Cause != "" {
		flags |= flagCause
	}
	p := append(e.body, flags)
	p = binary.AppendVarint(p, nanos(r.Time)-nanos(base))
	p = binary.AppendVarint(p, int64(r.Uptime-uptime))
	if r.Cause != "" {
		p = text(p, r.Cause)
	}
	p = binary.AppendUvarint(p, uint64(len(r.Fields)))
	for i := range r.Fields {
		f := &r.Fields[i]
		key := fieldKey{f.Name, f.Unit, f.ID}
		at, known := e.fields[key]
		if !known {
			at = uint64(len(e.names))
			e.fields[key] = at
			e.names = append(e.names, key)
		}
		p = binary.AppendUvarint(p, at)
		var err error
		if p, err = appendValue(p, f); err != nil {
			return fmt.Errorf("field %s: %w", f.Name, err)
		}
	}
	e.body = p
	return nil
}

// ErrChunk is wrapped if a message is no chunk, or its head is damaged.
var ErrChunk = errors.New("not a valid chunk of records")

// DecodeHead decodes everything except the records.
func DecodeHead(p []byte) (Chunk, error) {
	c, _, err := head(p)
	return c, err
}

// Decode decodes a chunk of a track. Records with a wrong checksum are left out and listed in
// Damaged.
func Decode(track string, p []byte) (Chunk, error) {
	c, h, err := head(p)
	if err != nil {
		return c, err
	}
	c.Track = track
	body := h.rest
	c.Records = make([]Record, 0, len(h.lengths))
	for i, n := range h.lengths {
		sequence := c.First + uint64(i)
		if len(body) < n+4 {
			c.Damaged = append(c.Damaged, sequence)
			body = nil
			continue
		}
		one, check := body[:n], binary.LittleEndian.Uint32(body[n:])
		body = body[n+4:]
		if crc32.Checksum(one, castagnoli) != check {
			c.Damaged = append(c.Damaged, sequence)
			continue
		}
		r, ok := h.record(one)
		if !ok {
			c.Damaged = append(c.Damaged, sequence)
			continue
		}
		r.Track, r.Number, r.Sequence, r.Boot = track, c.Number, sequence, c.Boot
		c.Records = append(c.Records, r)
	}
	return c, nil
}

// heading is the information in the head that is needed to decode the records.
type heading struct {
	names   []fieldKey
	lengths []int
	base    int64
	uptime  int64
	rest    []byte
}

func head(p []byte) (c Chunk, h heading, err error) {
	if len(p) < 3 || string(p[:2]) != chunkMagic {
		return c, h, ErrChunk
	}
	if p[2] != chunkVersion {
		return c, h, fmt.Errorf("%w: version %d is not known", ErrChunk, p[2])
	}
	r := reader{p: p[3:]}
	c.Number = uint32(r.uvarint(1<<32 - 1))
	c.First, c.Before = r.uvarint(1<<63), r.uvarint(1<<63)
	c.Boot = r.text(bootBytes)
	h.base, h.uptime = r.varint(), r.varint()
	for range r.uvarint(maxAnchors) {
		c.Anchors = append(c.Anchors, Anchor{Boot: r.text(bootBytes), Start: moment(r.varint())})
	}
	for range r.uvarint(uint64(len(r.p))) {
		h.names = append(h.names, fieldKey{name: r.text(len(p)), unit: r.text(len(p)), id: uint32(r.uvarint(1<<32 - 1))})
	}
	c.Count = r.uvarint(MaxChunk)
	for range c.Count {
		h.lengths = append(h.lengths, int(r.uvarint(uint64(len(p)))))
	}
	if r.bad || len(r.p) < 4 {
		return c, h, ErrChunk
	}
	at := len(p) - len(r.p)
	if crc32.Checksum(p[:at], castagnoli) != binary.LittleEndian.Uint32(r.p) {
		return c, h, ErrChunk
	}
	h.rest = r.p[4:]
	return c, h, nil
}

// record decodes a record whose checksum is right.
func (h *heading) record(p []byte) (r Record, ok bool) {
	d := reader{p: p}
	flags := d.byte()
	r.Trusted, r.Absent = flags&flagTrusted != 0, flags&flagAbsent != 0
	r.Time = moment(h.base + d.varint())
	r.Uptime = time.Duration(h.uptime + d.varint())
	if flags&flagCause != 0 {
		r.Cause = d.text(len(p))
	}
	n := d.uvarint(uint64(len(p)))
	r.Fields = slices.Grow(r.Fields, int(n))
	for range n {
		at := d.uvarint(uint64(len(h.names)))
		if d.bad || at >= uint64(len(h.names)) {
			return r, false
		}
		key := h.names[at]
		f := Field{Name: key.name, Unit: key.unit, ID: key.id}
		d.value(&f)
		r.Fields = append(r.Fields, f)
	}
	return r, !d.bad && len(d.p) == 0
}

func moment(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}
