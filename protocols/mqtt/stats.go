package mqtt

import "sync/atomic"

// Stats are counts since Start, but for the first five, which are what is now.
type Stats struct {
	Connections   int // sockets, CONNECT seen or not
	Clients       int // with a session
	Sessions      int // kept for absent clients
	Retained      int
	Subscriptions int
	Store         error // why what should outlive the process may not; nil: it does, or need not

	BytesIn, BytesOut int64
	Writes            int64 // system calls that BytesOut took, but for those to slow clients
	MessagesIn        int64 // publishes from clients
	MessagesOut       int64 // deliveries, one per subscriber
	Dropped           int64 // deliveries given up: session full, packet larger than the client takes
	Slow              int64 // clients closed because they did not read
	Panics            int64 // recovered: of the library by a packet, of a callback
	Rejected          int64 // connections refused: cap, not MQTT, bad client id, not authenticated, bad will
	Strangers         int64 // connections that ended before a whole CONNECT
	Denied            int64 // publishes and subscriptions refused
	AcceptErrors      int64
}

type counters struct {
	writes, bytesIn, bytesOut, messagesIn, messagesOut atomic.Int64
	dropped, slow, panics, rejected, strangers         atomic.Int64
	denied, acceptErrors                               atomic.Int64
}
