package mqtt

import (
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"time"
)

// Claim is the message by which an actor asks a broker's actor for the messages that clients
// publish on a topic. It is valid for ClaimTime and must then be repeated; the answer is a *Claim
// as well.
type Claim struct {
	Topic    string // without wildcards
	Path     string // of the actor
	Response string // default response topic, for clients that name none
}

// ClaimTime is how long a claim is valid.
const ClaimTime = 5 * time.Second

// Incoming is sent to the actor for each publish on a claimed topic.
type Incoming struct {
	Client ClientInfo
	Publish
	// Answer publishes an answer on a topic, or on the response topic of the publish if it has one.
	// The client may be gone by then; others may subscribe to the topic.
	Answer func(topic string, payload []byte) error
}

// Answered is the reply of the actor once it has answered.
type Answered struct{}

// Claims are the claimed topics. Any goroutine may read them; only one may change them.
type Claims struct {
	all atomic.Pointer[map[string]claimed]
}

type claimed struct {
	path, response string
	until          time.Time
}

// Take makes or renews a claim.
func (c *Claims) Take(m Claim, now time.Time) error {
	if err := checkTopic(m.Topic); err != nil {
		return err
	}
	if class, _, _ := strings.Cut(m.Topic, "/"); brokerOwned(m.Topic) || class == "cmd" || class == "reply" {
		return fmt.Errorf("topic %q is reserved for the gateway", m.Topic)
	}
	next := map[string]claimed{}
	if all := c.all.Load(); all != nil {
		maps.Copy(next, *all)
		maps.DeleteFunc(next, func(_ string, x claimed) bool { return !x.until.After(now) })
	}
	if x, taken := next[m.Topic]; taken && x.path != m.Path {
		return fmt.Errorf("topic %q belongs to %s", m.Topic, x.path)
	}
	next[m.Topic] = claimed{m.Path, m.Response, now.Add(ClaimTime)}
	c.all.Store(&next)
	return nil
}

// Path returns the actor that has claimed a topic; ok is false if there is none.
func (c *Claims) Path(topic string) (path string, ok bool) {
	all := c.all.Load()
	if all == nil {
		return "", false
	}
	x, ok := (*all)[topic]
	return x.path, ok && time.Now().Before(x.until)
}

// Response returns the default response topic for publishes on a topic; empty if the topic is not
// claimed.
func (c *Claims) Response(topic string) string {
	all := c.all.Load()
	if all == nil {
		return ""
	}
	return (*all)[topic].response
}
