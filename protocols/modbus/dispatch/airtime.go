package dispatch

import (
	"time"

	"gatewayd/protocols/modbus"
)

// Air returns a function for Config.Air: how long a request and its answer take on a serial line.
// char is the time of one character, silence the pause before a frame (t3.5), which ASCII does not
// need.
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
