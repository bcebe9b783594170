package modbusunit

import (
	"math"
	"strings"
	"time"

	"gatewayd/protocols/modbus/points"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// rule says when a point is published. The zero rule is always.
type rule struct {
	change            bool
	deadband, percent float64
	heartbeat         time.Duration
}

func ruleOf(r *modbusv1.Report) rule {
	if r.GetOn() != "change" {
		return rule{}
	}
	return rule{true, r.Deadband, r.DeadbandPercent, r.Heartbeat.AsDuration()}
}

// sent is the last published state of a point.
type sent struct {
	value points.Value
	poor  poor
	at    time.Time // zero: never published
}

// due reports whether a point must be published now. It is due early if the next slot would be too
// late for its heartbeat.
func (r *rule) due(was *sent, value points.Value, why poor, now time.Time, every time.Duration) bool {
	switch {
	case !r.change || was.at.IsZero() || why != was.poor && !why.alike(was.poor):
		return true
	case r.heartbeat > 0 && now.Add(every).Sub(was.at) > r.heartbeat:
		return true
	}
	return r.differs(was.value, value)
}

// alike reports whether a point of a quarantined unit is unchanged. Its cause changes with each
// probe of the unit, which is no change of the point.
func (p poor) alike(o poor) bool {
	return p.quality == o.quality && strings.Contains(p.cause, quarantined) && strings.Contains(o.cause, quarantined)
}

func (r *rule) differs(was, is points.Value) bool {
	a, ok := was.Float64()
	b, ok2 := is.Float64()
	band := max(r.deadband, math.Abs(a)*r.percent/100)
	if !ok || !ok2 || band == 0 {
		return was != is
	}
	return math.Abs(a-b) > band
}

// due returns the points to publish, by index. all is true if it is every point; the list may then
// be nil.
func (g *group) due(now time.Time) (list []int, all bool) {
	if g.rules == nil {
		return nil, true
	}
	if g.sent == nil {
		g.sent = make([]sent, len(g.points))
	}
	for i := range g.points {
		why := poor{}
		if g.poor != nil {
			why = g.poor[i]
		}
		if g.rules[i].due(&g.sent[i], g.last[i].value, why, now, g.every) {
			g.sent[i] = sent{g.last[i].value, why, now}
			list = append(list, i)
		}
	}
	return list, len(list) == len(g.points)
}
