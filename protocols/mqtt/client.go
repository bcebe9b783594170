package mqtt

import (
	"crypto/tls"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"gatewayd/protocols/access"
)

// ClientInfo describes a client.
type ClientInfo struct {
	ID       string               // client id, as sent or as assigned by the broker
	Assigned bool                 // the id was assigned by the broker
	Username string               // as sent, unverified until Authenticate has accepted the client
	Identity *access.Identity     // as returned by Authenticate; nil: none
	Password []byte               // only during Authenticate and Open, nil afterwards
	Remote   string               // host:port of the peer
	Version  byte                 // protocol level: 3 (3.1), 4 (3.1.1) or 5
	Clean    bool                 // clean session or clean start asked for
	TLS      *tls.ConnectionState // nil without TLS
	Session  any                  // as returned by Open
	Restored bool                 // restored from an earlier process and not connected in this one

	conn *conn
}

// Same reports whether both are of the same connection.
func (c ClientInfo) Same(o ClientInfo) bool { return c.conn == o.conn }

// owner returns whose client id this is as long as there is a session for it.
func (c ClientInfo) owner() string {
	if c.Identity != nil {
		return c.Identity.Name
	}
	return c.Username
}

// Properties are the MQTT 5 publish properties that are passed on with a message. A 3.1.1 client
// neither sends nor receives them.
type Properties struct {
	ContentType     string
	ResponseTopic   string
	CorrelationData []byte
	User            []UserProperty
	Expiry          time.Duration // whole seconds; 0: never
	UTF8            bool          // payload format indicator
}

// UserProperty is one name and value; names may repeat and their order matters.
type UserProperty struct{ Key, Value string }

// Publish is one message from a client.
type Publish struct {
	Topic   string
	Payload []byte // the receiver may keep it
	QoS     byte
	Retain  bool
	Properties
}

// SessionKind is the kind of a SessionEvent.
type SessionKind byte

// The kinds of SessionEvent.
const (
	SessionConnected SessionKind = iota + 1
	SessionSubscribed
	SessionUnsubscribed
	SessionDisconnected
	SessionExpired   // the stored session of an absent client has ended
	SessionThrottled // the client exceeds its budget and is read more slowly
	SessionDropped   // the client reads too slowly and loses messages
)

// String returns the kind in the past tense.
func (k SessionKind) String() string {
	switch k {
	case SessionConnected:
		return "connected"
	case SessionSubscribed:
		return "subscribed"
	case SessionUnsubscribed:
		return "unsubscribed"
	case SessionDisconnected:
		return "disconnected"
	case SessionExpired:
		return "expired"
	case SessionThrottled:
		return "throttled"
	case SessionDropped:
		return "dropped"
	}
	return "unknown"
}

// SessionEvent is one event in the life of a session.
type SessionEvent struct {
	Kind    SessionKind
	Client  ClientInfo
	Filters []string // granted or given up; Subscribed and Unsubscribed only
	Err     error    // why the connection ended; Disconnected only, nil after a DISCONNECT
	Kept    bool     // the session is kept for the client; Disconnected only
}

func propertiesFrom(p packets.Properties) Properties {
	out := Properties{
		ContentType:     p.ContentType,
		ResponseTopic:   p.ResponseTopic,
		CorrelationData: p.CorrelationData,
		Expiry:          time.Duration(p.MessageExpiryInterval) * time.Second,
		UTF8:            p.PayloadFormatFlag && p.PayloadFormat == 1,
	}
	for _, u := range p.User {
		out.User = append(out.User, UserProperty{Key: u.Key, Value: u.Val})
	}
	return out
}

func (p Properties) wire() packets.Properties {
	out := packets.Properties{
		ContentType:           p.ContentType,
		ResponseTopic:         p.ResponseTopic,
		CorrelationData:       p.CorrelationData,
		MessageExpiryInterval: uint32(min(p.Expiry/time.Second, 1<<31)),
	}
	if p.UTF8 {
		out.PayloadFormat, out.PayloadFormatFlag = 1, true
	}
	for _, u := range p.User {
		out.User = append(out.User, packets.UserProperty{Key: u.Key, Val: u.Value})
	}
	return out
}
