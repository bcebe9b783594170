package wire

import (
	"time"

	"gatewayd/protocols/modbus"
)

// Air tells for a serial line how long a request and its answer are on the wire
// at char per character, with the silence around them.
func Air(char time.Duration, framing modbus.Framing) func(r modbus.Request) time.Duration {
	return func(r modbus.Request) time.Duration {
		out, in := r.Sizes()
		out, in = out+3, in+3 // unit and checksum
		if framing == modbus.ASCII {
			out, in = 2*out+1, 2*in+1
		}
		return time.Duration(out+in+7) * char // 3.5 characters of silence before each
	}
}
