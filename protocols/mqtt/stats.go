package mqtt

import "sync/atomic"

// Stats are counts since Start, except the first five fields, which are present values.
type Stats struct {
	Connections   int // sockets, before and after CONNECT
	Clients       int // with a session
	Sessions      int // kept for absent clients
	Retained      int
	Subscriptions int
	// Why data that should survive the process may be lost; nil: it is stored, or no store is
	// configured.
	Store error

	BytesIn, BytesOut int64
	Writes            int64 // system calls for BytesOut, without those to slow clients
	MessagesIn        int64 // publishes from clients
	MessagesOut       int64 // deliveries, one per subscriber
	// Deliveries dropped: session full, or packet larger than the client accepts.
	Dropped int64
	Slow    int64 // clients closed because they did not read
	Panics  int64 // recovered: of the library by a packet, of a callback
	// Connections refused: limit, not MQTT, bad client id, not authenticated, bad will.
	Rejected     int64
	Strangers    int64 // connections that ended before a complete CONNECT
	Denied       int64 // publishes and subscriptions refused
	AcceptErrors int64
}

type counters struct {
	writes, bytesIn, bytesOut, messagesIn, messagesOut atomic.Int64
	dropped, slow, panics, rejected, strangers         atomic.Int64
	denied, acceptErrors                               atomic.Int64
}
