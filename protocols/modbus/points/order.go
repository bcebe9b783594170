package points

import (
	"fmt"
	"strings"
)

// Names of orders that fit any width, so that a profile can use one for all its points.
const (
	BigEndian    = "big-endian"    // abcd: as in the specification
	LittleEndian = "little-endian" // dcba
	ByteSwap     = "byte-swap"     // badc: the two bytes of each register swapped
	WordSwap     = "word-swap"     // cdab: the registers in reverse order
)

// Order gives, for each byte as received, its index in the value; 0 is the most significant byte.
type Order []int

// OrderOf parses an order for a value of the given number of bytes (2, 4, 6 or 8): one of the names
// above, or one letter for each byte as received, where a is the most significant: "cdab" is
// word-swapped, "ghefcdab" the same for 64 bits. Any permutation is allowed.
func OrderOf(text string, bytes int) (Order, error) {
	order := make(Order, bytes)
	switch text {
	case "", BigEndian, LittleEndian, ByteSwap, WordSwap:
		for i := range order {
			order[i] = named(text, i, bytes)
		}
		return order, nil
	}
	if len(text) != bytes {
		return nil, fmt.Errorf("order %q has %d letters; for %d bytes give a permutation of %q", text, len(text), bytes, alphabet(bytes))
	}
	seen := 0
	for i, letter := range []byte(strings.ToLower(text)) {
		at := int(letter) - 'a'
		if at < 0 || at >= bytes || seen&(1<<at) != 0 {
			return nil, fmt.Errorf("order %q is not a permutation of %q", text, alphabet(bytes))
		}
		seen |= 1 << at
		order[i] = at
	}
	return order, nil
}

func named(name string, i, bytes int) int {
	switch name {
	case LittleEndian:
		return bytes - 1 - i
	case ByteSwap:
		return i ^ 1
	case WordSwap:
		return (bytes - 1 - i) ^ 1
	}
	return i
}

func alphabet(bytes int) string { return "abcdefgh"[:bytes] }

// unit returns the number of bytes to which the point's order applies: the whole value, or each
// register of text and of a time in fields.
func (p *Point) unit() int {
	if p.Type == Fields {
		return 2
	}
	return max(2, width(p.Type))
}

// straight reports whether the bytes are in the order of the specification.
func (p *Point) straight() bool { return p.Order == "" || p.Order == BigEndian }

// order returns the order of a checked point.
func (p *Point) order() (Order, error) { return OrderOf(p.Order, p.unit()) }

// value converts wire bytes to big-endian order, group by group.
func (o Order) value(wire []byte) []byte {
	out := make([]byte, len(wire))
	for i, b := range wire {
		out[i-i%len(o)+o[i%len(o)]] = b
	}
	return out
}

// wire is the inverse of value.
func (o Order) wire(value []byte) []byte {
	out := make([]byte, len(value))
	for i := range out {
		out[i] = value[i-i%len(o)+o[i%len(o)]]
	}
	return out
}
