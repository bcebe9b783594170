package mqtt

import (
	"errors"
	"fmt"
)

var (
	errNotMQTT      = errors.New("first packet is not an MQTT CONNECT")
	errShortConnect = errors.New("CONNECT packet is too short")
)

// sniffLen is the number of bytes that sniffConnect looks at: fixed header (5), "MQIsdp" with its
// length (8).
const sniffLen = 13

// sniffConnect checks the first bytes of a connection, before the library allocates memory for
// them. It returns nil as long as they can become a CONNECT of at most limit bytes (MQTT 5 §3.1;
// also 3.1 and 3.1.1).
func sniffConnect(b []byte, limit int) error {
	if len(b) == 0 {
		return nil
	}
	if b[0] != 0x10 {
		return errNotMQTT
	}
	size, n, err := variableInt(b[1:])
	if n == 0 || err != nil {
		return err
	}
	if size > limit {
		return fmt.Errorf("CONNECT packet of %d bytes: at most %d are allowed", size, limit)
	}
	if size < 12 {
		return errShortConnect
	}
	return sniffProtocol(b[1+n:])
}

// sniffProtocol checks the part of the protocol name that has arrived. An unknown level is left to
// the library, which answers it with the CONNACK that the specification requires.
func sniffProtocol(b []byte) error {
	const new, old = "\x00\x04MQTT", "\x00\x06MQIsdp"
	name := new
	if len(b) > 1 && b[1] == 6 {
		name = old
	}
	n := min(len(b), len(name))
	if string(b[:n]) != name[:n] {
		return errNotMQTT
	}
	return nil
}

// variableInt reads a variable byte integer (MQTT 5 §1.5.5) and returns how many bytes it has; 0: b
// ends before it does.
func variableInt(b []byte) (value, n int, err error) {
	for i := 0; i < len(b); i++ {
		if i == 4 {
			return 0, 0, errors.New("length of more than four bytes")
		}
		value |= int(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			return value, i + 1, nil
		}
	}
	if len(b) >= 4 {
		return 0, 0, errors.New("length of more than four bytes")
	}
	return 0, 0, nil
}
