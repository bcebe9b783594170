package mqtt

import (
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"time"
)

// Claim is the message by which an actor asks a broker's actor for what clients publish on a topic. It holds for ClaimTime and is
// then to be made again; the answer is a *Claim as well.
type Claim struct {
	Topic    string // no wildcards
	Path     string // of the actor
	Response string // where it answers who names no response topic of its own
}

// ClaimTime is how long a claim holds.
const ClaimTime = 5 * time.Second

// Incoming is what the actor is asked for each publish.
type Incoming struct {
	Client ClientInfo
	Publish
	// Answer publishes what the actor has to say, on a topic or on the response topic of the publish, if that names one. Whoever has
	// published may be gone by then: others may hear the topic.
	Answer func(topic string, payload []byte) error
}

// Answered is what the actor replies when it has answered.
type Answered struct{}

// Claims are the topics in force. Any goroutine may look; one makes changes.
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
		return fmt.Errorf("topic %q is the gateway's own", m.Topic)
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

// Path is the actor that has claimed a topic; ok is false if nobody has.
func (c *Claims) Path(topic string) (path string, ok bool) {
	all := c.all.Load()
	if all == nil {
		return "", false
	}
	x, ok := (*all)[topic]
	return x.path, ok && time.Now().Before(x.until)
}

// Response is where publishes on a topic are answered anyway; empty if nobody has claimed it.
func (c *Claims) Response(topic string) string {
	all := c.all.Load()
	if all == nil {
		return ""
	}
	return (*all)[topic].response
}
