package bus

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Class is the third token of every subject: the kind of message that travels there.
type Class string

// The six classes. The class precedes the path so that one wildcard expresses one permission.
const (
	Data  Class = "data"  // readings, one message per unit and scan group
	Event Class = "event" // something happened, once; the latest ones are kept in a bounded stream
	State Class = "state" // the current state of something; the latest message per subject is kept
	Cmd   Class = "cmd"   // a request with one answer, or with a stream of answers and an end marker
	Trace Class = "trace" // frames and mailbox messages, only while somebody listens
	Track Class = "track" // data that must not be lost: chunks of records, kept in a bounded stream until it is full
)

// Maximum lengths of names in bytes. A subject must fit one NATS control line and one MQTT topic
// with room to spare.
const (
	maxToken = 63
	maxName  = 255
)

// Address is a parsed subject.
type Address struct {
	Gateway string
	Class   Class
	Path    string // actor path joined by '/'; empty for subjects of the gateway as a whole
	Leaf    string // method, event, state or reading name: [A-Za-z0-9_-]
}

// Subject returns the subject on which the actor at path publishes or listens:
//
//	Subject("demo", Data, "field/rs485-1/meter-7", "registers")
//	→ gw.demo.data.field.rs485-1.meter-7.registers
//
// It does not check its arguments: validate names with CheckName, CheckGateway and CheckLeaf.
func Subject(gateway string, c Class, path, leaf string) string {
	if path == "" {
		return "gw." + gateway + "." + string(c) + "." + leaf
	}
	var b strings.Builder // one allocation: every sample needs a subject
	b.Grow(len("gw....") + len(gateway) + len(c) + len(path) + len(leaf))
	for _, part := range [...]string{"gw.", gateway, ".", string(c), "."} {
		b.WriteString(part)
	}
	for rest, more := path, true; more; {
		var token string
		token, rest, more = strings.Cut(rest, "/")
		b.WriteString(token)
		b.WriteByte('.')
	}
	b.WriteString(leaf)
	return b.String()
}

// ParseSubject parses a concrete subject of a gateway; it is the reverse of Subject.
func ParseSubject(subject string) (Address, error) {
	tok := strings.Split(subject, ".")
	if len(tok) < 4 || tok[0] != "gw" {
		return Address{}, fmt.Errorf("subject %q: want gw.<gateway>.<class>.<path>.<leaf>", subject)
	}
	a := Address{Gateway: tok[1], Class: Class(tok[2]), Path: strings.Join(tok[3:len(tok)-1], "/"), Leaf: tok[len(tok)-1]}
	if err := CheckGateway(a.Gateway); err != nil {
		return Address{}, fmt.Errorf("subject %q: %w", subject, err)
	}
	if !a.Class.known() {
		return Address{}, fmt.Errorf("subject %q: class %q is not data, event, state, cmd, track or trace", subject, a.Class)
	}
	if len(tok) > 4 {
		if err := CheckName(a.Path); err != nil {
			return Address{}, fmt.Errorf("subject %q: %w", subject, err)
		}
	}
	if err := CheckLeaf(a.Leaf); err != nil {
		return Address{}, fmt.Errorf("subject %q: %w", subject, err)
	}
	return a, nil
}

// String returns the subject.
func (a Address) String() string { return Subject(a.Gateway, a.Class, a.Path, a.Leaf) }

func (c Class) known() bool {
	switch c {
	case Data, Event, State, Cmd, Trace, Track:
		return true
	}
	return false
}

// CheckName reports why path cannot be an actor name. Names are slash-joined tokens of lower-case
// letters, digits and '-', so that one spelling serves as config key, actor path, NATS subject,
// MQTT topic and log attribute.
func CheckName(path string) error {
	if path == "" {
		return fmt.Errorf("actor name is empty: want tokens like \"field/rs485-1/meter-7\"")
	}
	if len(path) > maxName {
		return fmt.Errorf("actor name %.40q…: %d bytes, at most %d", path, len(path), maxName)
	}
	for tok := range strings.SplitSeq(path, "/") {
		if err := checkToken(tok); err != nil {
			return fmt.Errorf("actor name %q: %w", path, err)
		}
	}
	return nil
}

// CheckGateway reports why id cannot be a gateway id: one token of lower-case letters, digits and
// '-'.
func CheckGateway(id string) error {
	if err := checkToken(id); err != nil {
		return fmt.Errorf("gateway id %q: %w", id, err)
	}
	return nil
}

// CheckLeaf reports why leaf cannot be the last token of a subject. Methods are written like
// SetMode; readings and events like registers, link-up or scan_1.
func CheckLeaf(leaf string) error {
	if leaf == "" {
		return fmt.Errorf("leaf is empty")
	}
	if len(leaf) > maxToken {
		return fmt.Errorf("leaf %.20q… is %d bytes, at most %d", leaf, len(leaf), maxToken)
	}
	for i := range len(leaf) {
		if !leafByte(leaf[i]) {
			return fmt.Errorf("leaf %q: %q is not a letter, digit, '-' or '_'", leaf, leaf[i])
		}
	}
	return nil
}

func leafByte(b byte) bool {
	return nameByte(b) || b == '_' || b >= 'A' && b <= 'Z'
}

func nameByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || b == '-'
}

func checkToken(tok string) error {
	switch {
	case tok == "":
		return fmt.Errorf("empty token (a leading, trailing or double '/')")
	case len(tok) > maxToken:
		return fmt.Errorf("token %.20q… is %d bytes, at most %d", tok, len(tok), maxToken)
	}
	for i := range len(tok) {
		if nameByte(tok[i]) {
			continue
		}
		r, _ := utf8.DecodeRuneInString(tok[i:])
		return fmt.Errorf("token %q: %q is not allowed, only a-z, 0-9 and '-'%s", tok, r, hint(tok))
	}
	return nil
}

// hint proposes the nearest valid spelling.
func hint(tok string) string {
	fixed := strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r == '_' || r == ' ' || r == '.' || r == ':':
			return '-'
		case r < 128 && nameByte(byte(r)):
			return r
		}
		return -1
	}, tok)
	if fixed == "" {
		return ""
	}
	return fmt.Sprintf(" (try %q)", fixed)
}
