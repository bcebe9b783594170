package wire

import (
	"time"

	"gatewayd/protocols/modbus"
)

// Air tells for a serial line how long a request and its answer are on the wire
// at char per character, with the silence before each. ASCII needs none.
func Air(char, silence time.Duration, framing modbus.Framing) func(r modbus.Request) time.Duration {
	return func(r modbus.Request) time.Duration {
		out, in := r.Sizes()
		out, in = out+3, in+3 // unit and checksum
		if framing == modbus.ASCII {
			return time.Duration(2*(out+in)+2) * char
		}
		return time.Duration(out+in)*char + 2*silence
	}
}
