package mdi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"unicode/utf8"
)

// coder reads or writes unaligned PER (X.691), bit by bit, most significant first. One function per
// type does both, so that the directions cannot differ. After an error it does nothing any more.
type coder struct {
	buf     []byte
	at      int  // in bits: the read position; when writing, the number of bits written
	writing bool // into buf
	skipped bool // something unknown to this version was skipped
	err     error
}

// maxOctets is the length of the longest string: what a length determinant encodes without
// fragmentation.
const maxOctets = 1<<14 - 1

var errShort = errors.New("cut off")

func (c *coder) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// left returns the number of bits left to read.
func (c *coder) left() int { return 8*len(c.buf) - c.at }

// bits codes n ≤ 64 bits.
func (c *coder) bits(v *uint64, n int) {
	switch {
	case c.err != nil:
		return
	case !c.writing && n > c.left():
		c.err = errShort
		return
	case !c.writing:
		*v = 0
	}
	for n > 0 {
		if c.writing && c.at%8 == 0 {
			c.buf = append(c.buf, 0)
		}
		room := 8 - c.at%8
		k := min(n, room)
		mask := byte(1<<k - 1)
		if octet := &c.buf[c.at/8]; c.writing {
			*octet |= byte(*v>>(n-k)) & mask << (room - k)
		} else {
			*v = *v<<k | uint64(*octet>>(room-k)&mask)
		}
		c.at += k
		n -= k
	}
}

func (c *coder) bool(v *bool) {
	var b uint64
	if *v {
		b = 1
	}
	c.bits(&b, 1)
	*v = b == 1
}

// between codes a constrained whole number.
func between[T int | int64 | uint8 | uint16 | uint32](c *coder, v *T, low, high int64) {
	span := uint64(high - low)
	off := uint64(int64(*v) - low)
	if c.writing && off > span {
		c.fail("%d is not between %d and %d", int64(*v), low, high)
		return
	}
	c.bits(&off, bits.Len64(span))
	if c.err == nil && off > span {
		c.fail("a number is above %d", high)
		return
	}
	if !c.writing {
		*v = T(low + int64(off))
	}
}

// integer codes an unconstrained whole number of at most 64 bits: the number of octets, then the
// fewest octets that hold it, in two's complement.
func (c *coder) integer(v *int64) {
	n := uint64((bits.Len64(uint64(*v^(*v>>63))) + 8) / 8)
	c.bits(&n, 8)
	if c.err == nil && (n == 0 || n > 8) {
		c.fail("a whole number of %d octets", n)
	}
	raw := uint64(*v)
	c.bits(&raw, 8*int(n))
	if c.writing || c.err != nil {
		return
	}
	shift := 64 - 8*n
	*v = int64(raw<<shift) >> shift
	if (bits.Len64(uint64(*v^(*v>>63)))+8)/8 != int(n) {
		c.fail("a whole number of more octets than it needs")
	}
}

// natural does the same for 0..2^64-1, which may need a ninth octet.
func (c *coder) natural(v *uint64) {
	n := uint64(bits.Len64(*v)/8 + 1)
	c.bits(&n, 8)
	if c.err == nil && (n == 0 || n > 9) {
		c.fail("a whole number of %d octets", n)
	}
	var top uint64
	if n == 9 {
		c.bits(&top, 8)
	}
	c.bits(v, 8*min(int(n), 8))
	if !c.writing && c.err == nil && (top != 0 || bits.Len64(*v)/8+1 != int(n)) {
		c.fail("a whole number that is negative, or of more octets than it needs")
	}
}

// length codes a length determinant below 16384.
func (c *coder) length(n *int) {
	long := *n > 127
	c.bool(&long)
	if !long {
		between(c, n, 0, 127)
		return
	}
	var fragments bool
	c.bool(&fragments)
	if c.err == nil && fragments {
		c.fail("a length of more than %d", maxOctets)
	}
	between(c, n, 0, maxOctets)
	if c.err == nil && *n < 128 {
		c.fail("a length of more octets than it needs")
	}
}

// octets codes the octets of a string after their number.
func octets[T string | []byte](c *coder, v *T) {
	n := len(*v)
	if c.writing && n > maxOctets {
		c.fail("%d octets: more than %d", n, maxOctets)
		return
	}
	c.length(&n)
	raw := c.raw([]byte(*v), n)
	if !c.writing && c.err == nil {
		*v = T(raw)
	}
}

// raw codes n octets: it writes those of v, or reads as many.
func (c *coder) raw(v []byte, n int) []byte {
	if c.err != nil {
		return nil
	}
	if !c.writing {
		if 8*n > c.left() {
			c.err = errShort
			return nil
		}
		v = make([]byte, n)
	}
	for i := range v {
		b := uint64(v[i])
		c.bits(&b, 8)
		v[i] = byte(b)
	}
	return v
}

// text codes a UTF8String.
func (c *coder) text(v *string) {
	if c.writing && !utf8.ValidString(*v) {
		c.fail("%q is not UTF-8", *v)
		return
	}
	octets(c, v)
	if !c.writing && c.err == nil && !utf8.ValidString(*v) {
		c.fail("a text that is not UTF-8")
	}
}

// optional codes a text that is left out if it is empty; there says whether it is present, which
// was coded before.
func (c *coder) optional(v *string, there bool) {
	if !there {
		return
	}
	c.text(v)
	if c.err == nil && *v == "" {
		c.fail("an empty text that should have been left out")
	}
}

// double codes an IEEE 754 number as 8 octets.
func (c *coder) double(v *float64) {
	b := binary.BigEndian.AppendUint64(nil, math.Float64bits(*v))
	if b = c.raw(b, 8); c.err == nil {
		*v = math.Float64frombits(binary.BigEndian.Uint64(b))
	}
}

// list codes a SEQUENCE OF with low to high elements. When reading, the slice grows with the
// elements actually present, whatever number is announced.
func list[T any](c *coder, all *[]T, low, high int64, each func(*coder, *T)) {
	n := len(*all)
	if between(c, &n, low, high); c.err != nil {
		return
	}
	if c.writing {
		for i := range *all {
			each(c, &(*all)[i])
		}
		return
	}
	if n > c.left() { // each of our elements takes at least one bit
		c.err = errShort
		return
	}
	*all = (*all)[:0]
	for range n {
		var v T
		if each(c, &v); c.err != nil {
			return
		}
		*all = append(*all, v)
	}
}

// choice codes the index of an alternative below n. For an extensible choice, known is false if
// this version does not know the alternative; its content has been skipped.
func (c *coder) choice(index *int, n int64, extensible bool) (known bool) {
	if extensible {
		var beyond bool
		if c.bool(&beyond); beyond {
			c.small()
			c.open()
			c.skipped = true
			return false
		}
	}
	between(c, index, 0, n-1)
	return c.err == nil
}

// enumerated does the same for an extensible ENUMERATED.
func (c *coder) enumerated(index *int, n int64) {
	var beyond bool
	if c.bool(&beyond); beyond {
		c.small()
		c.skipped = true
		*index = int(n) // one value stands for all unknown ones
		return
	}
	between(c, index, 0, n-1)
}

// sequence codes an extensible SEQUENCE and skips what later versions have added.
func (c *coder) sequence(root func()) {
	var more bool
	c.bool(&more)
	root()
	if c.err != nil || !more {
		return
	}
	n := c.small() + 1
	if n > c.left() {
		c.err = errShort
	}
	var there []bool
	for i := 0; i < n && c.err == nil; i++ {
		var b bool
		c.bool(&b)
		there = append(there, b)
	}
	for _, b := range there {
		if b {
			c.open()
		}
	}
	c.skipped = true
}

// small reads a normally small number; only extensions unknown to this version contain one.
func (c *coder) small() int {
	var large bool
	var n int
	if c.bool(&large); large {
		c.fail("an extension with an impossible number")
		return 0
	}
	between(c, &n, 0, 63)
	return n
}

// open skips an open type.
func (c *coder) open() {
	var n int
	c.length(&n)
	if c.err == nil && 8*n > c.left() {
		c.err = errShort
	}
	if c.err == nil {
		c.at += 8 * n
	}
}
