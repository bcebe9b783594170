package mqtt

import "encoding/binary"

// propertyTopicAlias is the identifier of the property Topic Alias (MQTT 5 §3.3.2.3.4).
const propertyTopicAlias = 0x23

// maxAliases is the largest number of aliases given to a client, whatever the client accepts.
const maxAliases = 64

// aliases are the topic aliases of one connection. They are inserted as packets are sent: stored or
// held messages keep their topic, so that no alias outlives its connection.
type aliases struct {
	most  uint16
	known map[string]uint16
}

// apply inserts aliases into the publishes in b, which holds whole packets of MQTT 5. It returns b
// itself if there is nothing to do.
func (a *aliases) apply(b []byte) []byte {
	if a.most == 0 {
		return b
	}
	var out []byte
	from := 0 // start of what is in b but not yet in out
	for at := 0; at < len(b); {
		end, body := packetBounds(b, at)
		if b[at]>>4 == typePublish {
			if p, ok := a.publish(b[at:end], body-at); ok {
				out = append(append(out, b[from:at]...), p...)
				from = end
			}
		}
		at = end
	}
	if from == 0 {
		return b
	}
	return append(out, b[from:]...)
}

// publish returns p with an alias, or false if it gets none.
func (a *aliases) publish(p []byte, body int) ([]byte, bool) {
	if len(p) < body+2 {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(p[body:]))
	props := body + 2 + n // start of the property length
	if p[0]&6 != 0 {
		props += 2
	}
	if n == 0 || props >= len(p) {
		return nil, false
	}
	size, used, err := variableInt(p[props:])
	if err != nil || used == 0 || props+used+size > len(p) {
		return nil, false
	}
	topic := p[body+2 : body+2+n]
	number, known := a.known[string(topic)]
	if !known {
		if len(a.known) >= int(a.most) {
			return nil, false
		}
		if a.known == nil {
			a.known = map[string]uint16{}
		}
		number = uint16(len(a.known) + 1)
		a.known[string(topic)] = number
	}
	rest := make([]byte, 0, len(p)+8)
	if known {
		topic = nil
	}
	rest = append(binary.BigEndian.AppendUint16(rest, uint16(len(topic))), topic...)
	rest = append(rest, p[body+2+n:props]...) // packet id
	rest = appendVariableInt(rest, size+3)
	rest = append(rest, propertyTopicAlias, byte(number>>8), byte(number))
	rest = append(rest, p[props+used:]...)
	return append(appendVariableInt([]byte{p[0]}, len(rest)), rest...), true
}

// appendVariableInt appends a variable byte integer (MQTT 5 §1.5.5).
func appendVariableInt(b []byte, n int) []byte {
	for n > 0x7f {
		b = append(b, byte(n&0x7f)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}
