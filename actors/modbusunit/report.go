package modbusunit

import (
	"math"
	"strings"
	"time"

	"gatewayd/protocols/modbus/points"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// rule says when a point is published; the zero rule: always.
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

// sent is what was last published of a point.
type sent struct {
	value points.Value
	poor  poor
	at    time.Time // zero: nothing
}

// due says whether a point is to be published: now, or because the next chance
// would come too late.
func (r *rule) due(was *sent, value points.Value, why poor, now time.Time, every time.Duration) bool {
	switch {
	case !r.change || was.at.IsZero() || why != was.poor && !why.alike(was.poor):
		return true
	case r.heartbeat > 0 && now.Add(every).Sub(was.at) > r.heartbeat:
		return true
	}
	return r.differs(was.value, value)
}

// alike says whether nothing has become of a point but that its unit is asked anew now and then: each probe is no change.
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

// due lists the points to publish; all if it is every one.
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
