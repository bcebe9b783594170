package modbusfirewall

import (
	"cmp"
	"fmt"
	"strings"

	"gatewayd/actors"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/firewall"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// locate asks the units of safe writes for their places, because masters may bypass their actors
// and reach them directly through their line or link.
func (k *keeper) locate(c *actors.Context) {
	for _, g := range k.groups {
		for _, w := range g.writes {
			if w.link == "" && !k.asking[w.unit] {
				k.asking[w.unit] = true
				c.Ask(w.unit, dispatch.Locate{Unit: w.unit}, locateTime)
			}
		}
	}
}

// concerns reports whether a request is for the unit of a safe write, either way. As long as the
// place of the unit is unknown, it may be behind any link.
func (k *keeper) concerns(w *safeWrite, q *firewall.Question) bool {
	switch {
	case w.unit == q.Unit:
		return true
	case w.link != "":
		return w.link == q.Link && w.request.Unit == q.Request.Unit
	}
	p, known := k.places[w.unit]
	if !known {
		return q.Link != "" && strings.HasPrefix(q.Unit, q.Link+"/")
	}
	return p.Link == q.Link && p.Address == q.Request.Unit
}

// beside finds points of dead-man groups that do not exist, and ways to units of safe writes that
// bypass the firewall.
func beside(all []schemas.Actor) (found []schemas.Finding) {
	units := map[string]*modbusv1.Unit{}
	for _, a := range all {
		if cfg, ok := a.Config.(*modbusv1.Unit); ok {
			units[a.Path] = cfg
		}
	}
	for _, a := range all {
		cfg, ok := a.Config.(*modbusv1.Firewall)
		if !ok {
			continue
		}
		for i, d := range cfg.DeadMan {
			if why := schemas.NoPoint(all, d.Unit, d.Point); why != "" && d.Point != "" {
				found = append(found, schemas.Finding{Actor: a.Path, Violation: schemas.Violation{Field: fmt.Sprintf("dead-man[%d].point", i), Message: why}})
			}
		}
		for i, w := range cfg.SafeWrites {
			link, at, name := w.Link, w.GetAt(), fmt.Sprintf("%s/%d", w.Link, w.GetAt())
			u := units[w.Unit]
			if u != nil {
				link, at, name = u.Link, u.Unit, w.Unit
				if u.Firewall != a.Path {
					found = append(found, past(a.Path, i, w.Unit, "firewall", fmt.Sprintf("calls to %s bypass this firewall, even after a trip", w.Unit)))
				}
			}
			for _, g := range all {
				if cfg, ok := g.Config.(*modbusv1.Gateway); ok && cfg.Firewall != a.Path && leads(cfg, link, at) {
					found = append(found, past(a.Path, i, g.Path, "firewall", fmt.Sprintf("masters of %s reach %s without this firewall, even after a trip", g.Path, name)))
				}
			}
		}
	}
	return found
}

func past(path string, i int, other, field, message string) schemas.Finding {
	return schemas.Finding{Actor: path, Beside: other, Violation: schemas.Violation{
		Field: fmt.Sprintf("safe-writes[%d]", i), Other: field, Warning: true, Message: message,
	}}
}

// leads reports whether masters may write to a unit directly through its link.
func leads(cfg *modbusv1.Gateway, link string, at uint32) bool {
	for _, r := range cfg.Routes {
		first, last := r.First, r.First
		if r.Last != nil {
			last = *r.Last
		}
		there := first
		if r.Unit != nil {
			there = *r.Unit
		}
		if link != "" && r.Link == link && cmp.Or(r.Mode, "read-write") == "read-write" && at >= there && at <= there+last-first {
			return true
		}
	}
	return false
}
