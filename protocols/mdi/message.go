package mdi

import (
	"errors"
	"fmt"
)

// Version is the version of the protocol implemented here.
const Version = 1

// A Message is one of Open, Opened, Close, Keepalive, Track, Boot, Batch, Acknowledge, Command,
// Answer. The ASN.1 module defines their meaning and the ranges of their numbers.
type Message interface{ code(c *coder) }

type Open struct {
	Version   uint8
	Gateway   string
	Session   SessionID
	Keepalive uint16 // seconds
	Unsettled []Range
}

// SessionID is chosen at random by a gateway.
type SessionID [8]byte

type Opened struct {
	Version uint8
	Resumed bool
	Window  uint8
	Settled []Range
}

type Close struct {
	Reason Reason
	Text   string
	Again  *uint16 // seconds
}

// Reason is why a connection is closed.
type Reason int

const (
	Done     Reason = iota // there is nothing more to send
	Failed                 // the other side violated the protocol
	Versions               // no common version
	Refused                // the gateway is not admitted
	Replaced               // the gateway has opened another connection
	Busy                   // try again later
	Unknown                // defined by a later version
)

func (r Reason) String() string {
	return [...]string{"done", "error", "version", "refused", "replaced", "busy", "unknown"}[min(max(r, Done), Unknown)]
}

type Keepalive struct{ Answer bool }

type Track struct {
	Number uint32
	Name   string
	Fields []Field
}

type Field struct {
	ID   uint16
	Name string
	Unit string
}

type Boot struct {
	Index uint8
	ID    string
}

type Acknowledge struct {
	Settled []Range
	Refused []Refusal
}

type Range struct {
	Track uint32
	First uint64
	More  uint16 // number of records following First
}

type Refusal struct {
	Track    uint32
	Sequence uint64
	Why      string
}

type Command struct {
	ID            uint32
	Actor, Method string
	Payload       []byte
}

type Answer struct {
	ID      uint32
	Payload []byte // if Failed is empty
	Failed  string // why there is no answer
}

// Largest is the size of the largest message in octets.
const Largest = 1<<16 - 1

// ErrUnknown is returned for a message of a later version, which is to be skipped.
var ErrUnknown = errors.New("an unknown message")

// fresh returns an empty message of each kind, in the order of the module.
func fresh(index int) Message {
	return [...]func() Message{
		func() Message { return &Open{} }, func() Message { return &Opened{} }, func() Message { return &Close{} },
		func() Message { return &Keepalive{} }, func() Message { return &Track{} }, func() Message { return &Boot{} },
		func() Message { return &Batch{} }, func() Message { return &Acknowledge{} }, func() Message { return &Command{} },
		func() Message { return &Answer{} },
	}[index]()
}

const kinds = 10

func indexOf(m Message) int {
	switch m.(type) {
	case *Open:
		return 0
	case *Opened:
		return 1
	case *Close:
		return 2
	case *Keepalive:
		return 3
	case *Track:
		return 4
	case *Boot:
		return 5
	case *Batch:
		return 6
	case *Acknowledge:
		return 7
	case *Command:
		return 8
	}
	return 9
}

// Encode encodes a message in PER. It fails for what the module does not allow, and for messages
// beyond Largest.
func Encode(m Message) ([]byte, error) {
	c := &coder{writing: true}
	index := indexOf(m)
	c.choice(&index, kinds, true)
	m.code(c)
	if c.err == nil && len(c.buf) > Largest {
		c.fail("%d octets: more than %d", len(c.buf), Largest)
	}
	if c.err != nil {
		return nil, fmt.Errorf("%T: %w", m, c.err)
	}
	return c.buf, nil
}

// Decode decodes a message. It accepts exactly what Encode produces, and additions of later
// versions; ErrUnknown if the whole message is unknown.
func Decode(b []byte) (Message, error) {
	m, _, err := decode(b)
	return m, err
}

// decode also reports whether anything was skipped.
func decode(b []byte) (Message, bool, error) {
	c := &coder{buf: b}
	var index int
	if !c.choice(&index, kinds, true) {
		if c.err != nil {
			return nil, false, c.err
		}
		return nil, true, ErrUnknown
	}
	m := fresh(index)
	if m.code(c); c.err == nil {
		c.end()
	}
	if c.err != nil {
		return nil, c.skipped, fmt.Errorf("%T: %w", m, c.err)
	}
	return m, c.skipped, nil
}

// end checks that only the padding of the last octet is left.
func (c *coder) end() {
	if c.left() >= 8 {
		c.fail("%d octets too many", c.left()/8)
		return
	}
	var pad uint64
	if c.bits(&pad, c.left()); pad != 0 {
		c.fail("padding that is not zero")
	}
}

func (m *Open) code(c *coder) {
	c.sequence(func() {
		between(c, &m.Version, 1, 255)
		c.text(&m.Gateway)
		if id := c.raw(m.Session[:], len(m.Session)); c.err == nil {
			copy(m.Session[:], id)
		}
		between(c, &m.Keepalive, 1, 3600)
		ranges(c, &m.Unsettled)
	})
}

func (m *Opened) code(c *coder) {
	c.sequence(func() {
		between(c, &m.Version, 1, 255)
		c.bool(&m.Resumed)
		between(c, &m.Window, 1, 64)
		ranges(c, &m.Settled)
	})
}

func (m *Close) code(c *coder) {
	c.sequence(func() {
		again := m.Again != nil
		c.bool(&again)
		c.enumerated((*int)(&m.Reason), int64(Unknown))
		c.text(&m.Text)
		if !again {
			return
		}
		if !c.writing {
			m.Again = new(uint16)
		}
		between(c, m.Again, 0, 65535)
	})
}

func (m *Keepalive) code(c *coder) { c.sequence(func() { c.bool(&m.Answer) }) }

func (m *Track) code(c *coder) {
	c.sequence(func() {
		between(c, &m.Number, 0, 1<<32-1)
		c.text(&m.Name)
		list(c, &m.Fields, 0, 1023, (*coder).field)
	})
}

func (c *coder) field(f *Field) {
	unit := f.Unit != ""
	c.bool(&unit)
	between(c, &f.ID, 0, maxFieldID)
	c.text(&f.Name)
	c.optional(&f.Unit, unit)
}

func (m *Boot) code(c *coder) {
	c.sequence(func() {
		between(c, &m.Index, 0, 255)
		c.text(&m.ID)
	})
}

func ranges(c *coder, all *[]Range) {
	list(c, all, 0, maxRanges, func(c *coder, r *Range) {
		between(c, &r.Track, 0, 1<<32-1)
		c.natural(&r.First)
		between(c, &r.More, 0, 65535)
		if c.err == nil && r.First+uint64(r.More) < r.First {
			c.fail("a range beyond 2^64-1")
		}
	})
}

func (m *Acknowledge) code(c *coder) {
	c.sequence(func() {
		ranges(c, &m.Settled)
		list(c, &m.Refused, 0, 255, func(c *coder, r *Refusal) {
			between(c, &r.Track, 0, 1<<32-1)
			c.natural(&r.Sequence)
			c.text(&r.Why)
		})
	})
}

func (m *Command) code(c *coder) {
	c.sequence(func() {
		between(c, &m.ID, 0, 1<<32-1)
		c.text(&m.Actor)
		c.text(&m.Method)
		octets(c, &m.Payload)
	})
}

func (m *Answer) code(c *coder) {
	c.sequence(func() {
		between(c, &m.ID, 0, 1<<32-1)
		kind := 0
		if m.Failed != "" {
			kind = 1
		}
		if !c.choice(&kind, 2, true) {
			m.Failed = "an unknown outcome"
			return
		}
		if kind == 0 {
			octets(c, &m.Payload)
			return
		}
		c.optional(&m.Failed, true)
	})
}
