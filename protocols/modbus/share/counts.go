package share

import "sync/atomic"

// Counts are what became of the requests of masters; any goroutine may count.
type Counts struct {
	Forwarded atomic.Uint64 // transactions
	Cached    atomic.Uint64 // answered from an answer given before
	Shared    atomic.Uint64 // shared a transaction with another request
	Swallowed atomic.Uint64 // answered as done and not forwarded
	Forbidden atomic.Uint64
	Unrouted  atomic.Uint64
	Busy      atomic.Uint64 // got no turn
	Down      atomic.Uint64 // the line or link carries nothing
	Silent    atomic.Uint64 // the unit gave no answer
}
