package actors

import (
	"maps"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/bus"
	actorv1 "gatewayd/schemas/actor/v1"
)

// States of health, best first.
const (
	OK          = "ok"
	Starting    = "starting"
	Degraded    = "degraded"
	Unreachable = "unreachable"
	Bad         = "failed"
	Quarantined = "quarantined"
	Gone        = "stopped"
)

// health is the health of an actor as last set.
type health struct {
	state, cause string
	since        time.Time // when the state changed; zero: the actor has had no life yet
	life         uint32
}

// Health returns the health of the actor as last set.
func (c *Cell) Health() *actorv1.Health {
	c.mu.Lock()
	h := c.health
	c.mu.Unlock()
	m := &actorv1.Health{Kind: c.kind.Name, State: h.state, Cause: h.cause, Life: h.life, About: c.about}
	if !h.since.IsZero() {
		m.Since = timestamppb.New(h.since)
	}
	return m
}

// State returns Health().State at less cost.
func (c *Cell) State() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.health.state
}

// SetHealth sets the health, and publishes it if it has changed.
func (c *Cell) SetHealth(state, cause string) {
	c.mu.Lock()
	next := health{state, cause, c.health.since, c.lives.Load()}
	if next == c.health {
		c.mu.Unlock()
		return
	}
	if next.state != c.health.state || next.since.IsZero() {
		next.since = time.Now()
	}
	c.health = next
	c.mu.Unlock()
	c.sayHealth()
	if fn := c.onHealth.Load(); fn != nil {
		(*fn)()
	}
}

// OnHealth makes fn be called after every change of health. It replaces an earlier fn.
func (c *Cell) OnHealth(fn func()) { c.onHealth.Store(&fn) }

func (c *Cell) sayHealth() {
	if err := c.sys.Bus.Publish(c.subject(bus.State, "health"), c.Health()); err != nil {
		c.log().Debug("health not published", "err", err)
	}
}

// Heal counts an action of a supervisor after a failure of the actor, by its level as in the event
// healed: "restart", "cycle" and so on.
func (c *Cell) Heal(level string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.healed == nil {
		c.healed = map[string]uint64{}
	}
	c.healed[level]++
}

// Healed returns the number of actions of supervisors on the actor since the daemon started, by
// level.
func (c *Cell) Healed() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.healed)
}
