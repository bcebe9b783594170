package share

import "sync/atomic"

// Counts count the outcomes of the requests of masters. They are safe for concurrent use.
type Counts struct {
	Forwarded atomic.Uint64 // transactions
	Cached    atomic.Uint64 // answered from an earlier answer
	Shared    atomic.Uint64 // shared a transaction with another request
	Swallowed atomic.Uint64 // confirmed without being forwarded
	Forbidden atomic.Uint64
	Unrouted  atomic.Uint64
	Busy      atomic.Uint64 // got no turn
	Down      atomic.Uint64 // the line or link is down
	Silent    atomic.Uint64 // the unit gave no answer
}
