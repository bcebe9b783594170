package mqtt

import (
	"crypto/tls"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"gatewayd/protocols/access"
)

// ClientInfo is what is known of a client.
type ClientInfo struct {
	ID       string               // client id, as sent or as assigned by the broker
	Assigned bool                 // by the broker
	Username string               // as sent, unverified until Authenticate said yes
	Identity *access.Identity     // who Authenticate said it is; nil: nobody in particular
	Password []byte               // only during Authenticate and Open, nil afterwards
	Remote   string               // host:port of the peer
	Version  byte                 // protocol level: 3 (3.1), 4 (3.1.1) or 5
	Clean    bool                 // clean session or clean start asked for
	TLS      *tls.ConnectionState // nil on plain TCP
	Session  any                  // as Open returned
	Restored bool                 // from an earlier process; not seen in this one

	conn *conn
}

// Same tells whether both are of one connection.
func (c ClientInfo) Same(o ClientInfo) bool { return c.conn == o.conn }

// owner is whose a client id is as long as there is a session of it.
func (c ClientInfo) owner() string {
	if c.Identity != nil {
		return c.Identity.Name
	}
	return c.Username
}

// Properties are the MQTT 5 publish properties that travel with a message; a 3.1.1 client neither sends nor sees them.
type Properties struct {
	ContentType     string
	ResponseTopic   string
	CorrelationData []byte
	User            []UserProperty
	Expiry          time.Duration // whole seconds; 0: never
	UTF8            bool          // payload format indicator
}

// UserProperty is one name and value; names may repeat and order counts.
type UserProperty struct{ Key, Value string }

// Publish is one message from a client.
type Publish struct {
	Topic   string
	Payload []byte // the receiver's to keep
	QoS     byte
	Retain  bool
	Properties
}

// SessionKind says what happened to a session.
type SessionKind byte

// The kinds of SessionEvent.
const (
	SessionConnected SessionKind = iota + 1
	SessionSubscribed
	SessionUnsubscribed
	SessionDisconnected
	SessionExpired   // the stored session of an absent client is gone
	SessionThrottled // it sends more than its budget and is read more slowly
	SessionDropped   // it reads too slowly: messages for it are lost
)

// String names the kind in the past tense.
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

// SessionEvent is one happening in the life of a session.
type SessionEvent struct {
	Kind    SessionKind
	Client  ClientInfo
	Filters []string // granted or given up; Subscribed and Unsubscribed only
	Err     error    // why it ended; Disconnected only, nil when the client said goodbye
	Kept    bool     // the session waits for the client to come back; Disconnected only
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
