package wire

import (
	"time"

	"gatewayd/protocols/modbus"
)

// Transact is the message by which a door that brings foreign masters in asks a unit's actor for one request just as the master
// made it, but for the unit address. The answer is a *Transacted, whatever the unit said; an error means that nothing was sent.
type Transact struct {
	Request modbus.Request
	Wait    time.Duration // the longest it may wait for its turn, each time; 0: as long as the asker waits
	Tag     any           // of the asker; not looked at
}

// Transacted is how it ended.
type Transacted struct {
	Of *Transact
	Result
}
