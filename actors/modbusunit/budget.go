package modbusunit

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors/modbuslink"
	"gatewayd/protocols/modbus/budget"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// planned is a line or link with the load that its units are configured to put on it.
type planned struct {
	actor    schemas.Actor
	line     budget.Line
	overload bool // overload is allowed
	units    []budget.Unit
	sure     []budget.Unit // units with a latency only where it is configured, else 0
}

// linesOf returns the lines and links of a config, in its order. It leaves out units whose own
// config is invalid.
func linesOf(all []schemas.Actor) []*planned {
	var lines []*planned
	at, known := map[string]*planned{}, plans{}
	for _, a := range all {
		if line, overload, ok := modbuslink.Line(a.Config); ok {
			at[a.Path] = &planned{actor: a, line: line, overload: overload}
			lines = append(lines, at[a.Path])
		}
	}
	for _, a := range all {
		cfg, ok := a.Config.(*modbusv1.Unit)
		if !ok || at[cfg.Link] == nil {
			continue
		}
		groups, err := known.groups(cfg)
		if err != nil || len(groups) == 0 || !timed(cfg) {
			continue
		}
		p, u := at[cfg.Link], loadOf(a.Path, cfg, groups)
		if p.line.Air == nil && cfg.Latency == nil { // no latency can be assumed over a network
			u.Latency = 0
		}
		p.units = append(p.units, u)
		if cfg.Latency == nil {
			u.Latency = 0
		}
		p.sure = append(p.sure, u)
	}
	return lines
}

// timed reports whether all scan groups of a unit have an interval. One that is missing or misspelt
// is reported elsewhere.
func timed(cfg *modbusv1.Unit) bool {
	return cfg.Every.AsDuration() > 0 && !slices.ContainsFunc(cfg.Groups, func(g *modbusv1.ScanGroup) bool { return g.Every.AsDuration() <= 0 })
}

// crowded finds lines and links that have no time for all polls of their units, and units that have
// no time for their own polls.
func crowded(all []schemas.Actor) (found []schemas.Finding) {
	for _, p := range linesOf(all) {
		if p.overload {
			continue
		}
		b := budget.Compute(p.line, p.sure)
		found = append(found, p.hurried(b)...)
		if b.Share > budget.Full {
			found = append(found, p.tooMuch(b, p.sure, "", false))
		} else if b = budget.Compute(p.line, p.units); b.Share > budget.Full {
			found = append(found, p.tooMuch(b, p.units, fmt.Sprintf(" if each answer takes %s, which is assumed without latency", assumed), true))
		}
	}
	return found
}

// tooMuch says that a line has not enough time, and what would fit.
func (p *planned) tooMuch(b budget.Budget, units []budget.Unit, assuming string, warning bool) schemas.Finding {
	f := schemas.Finding{Actor: p.actor.Path, Violation: schemas.Violation{Warning: warning}}
	advice, unit := p.advice(units)
	f.Message = fmt.Sprintf("the polls of %s need %s of its time (%s)%s; %s; with overload = \"allow\" the slowest polls wait instead",
		counted(len(b.Units)), percent(b.Share), largest(b), assuming, advice)
	if unit != "" {
		f.Beside, f.Other = unit, "every"
	}
	return f
}

// hurried finds units whose own polls, pauses included, take longer than their intervals.
func (p *planned) hurried(b budget.Budget) (found []schemas.Finding) {
	for _, u := range b.Units {
		if u.Own > budget.Full && b.Share <= budget.Full {
			found = append(found, schemas.Finding{Actor: u.Name, Violation: schemas.Violation{Field: "rest", Message: fmt.Sprintf(
				"its requests and the pauses of %s after them need %s of its time: make its intervals %.3g times as long", u.Rest, percent(u.Own), budget.FitUnit(u))}})
		}
	}
	return found
}

// advice says what would fit, and returns the unit that this is about.
func (p *planned) advice(units []budget.Unit) (text, unit string) {
	if faster := p.faster(units); faster > 0 {
		text = fmt.Sprintf("baud = %d, or ", faster)
	}
	text = "these would fit: " + text
	a, ok := budget.Fit(p.line, units)
	every := schemas.DurationText(a.Every)
	switch {
	case !ok:
		return text + "fewer units", ""
	case a.Factor > 0:
		return text + fmt.Sprintf("intervals %.3g times as long", a.Factor), ""
	case a.Group == "" || a.Group == own:
		return text + fmt.Sprintf("every = %q of %s", every, a.Unit), a.Unit
	}
	return text + fmt.Sprintf("every = %q of group %q of %s", every, a.Group, a.Unit), a.Unit
}

// faster returns the lowest common baud rate above the configured one at which the units fit; 0 if
// there is none or it is no serial line.
func (p *planned) faster(units []budget.Unit) uint32 {
	cfg, ok := p.actor.Config.(*modbusv1.SerialLine)
	if !ok {
		return 0
	}
	for _, baud := range []uint32{9600, 19200, 38400, 57600, 115200} {
		if baud <= cfg.Baud {
			continue
		}
		other := proto.CloneOf(cfg)
		other.Baud = baud
		line, _, _ := modbuslink.Line(other)
		if budget.Compute(line, units).Share <= budget.Comfort {
			return baud
		}
	}
	return 0
}

// largest names the units that take most time.
func largest(b budget.Budget) string {
	units := slices.Clone(b.Units)
	slices.SortStableFunc(units, func(a, b budget.UnitShare) int { return cmp.Compare(b.Share, a.Share) })
	var parts []string
	for _, u := range units[:min(2, len(units))] {
		parts = append(parts, fmt.Sprintf("%s %s", u.Name, percent(u.Share)))
	}
	return strings.Join(parts, ", ")
}

func counted(n int) string {
	if n == 1 {
		return "1 unit"
	}
	return fmt.Sprintf("%d units", n)
}

// percent rounds away from 100, so that too much never looks like just enough.
func percent(share float64) string {
	if p := 100 * share; p < 100 {
		return fmt.Sprintf("%.3g %%", math.Floor(p*10)/10)
	}
	return fmt.Sprintf("%.0f %%", math.Ceil(100*share))
}

// notes says of each line how much of its time the polls take, how much longer the scans of its
// units could take, and how many more units there is room for.
func notes(all []schemas.Actor) (told []schemas.Finding) {
	for _, p := range linesOf(all) {
		b := budget.Compute(p.line, p.units)
		if b.Share == 0 {
			continue
		}
		text := fmt.Sprintf("the polls of %s take %s of its time; %s", counted(len(p.units)), percent(b.Share), slack(b))
		last := p.units[len(p.units)-1]
		if room := budget.Room(p.line, p.units, last, 0); room > 0 {
			text += fmt.Sprintf("; there is room for %d more like %s", room, last.Name)
		}
		told = append(told, schemas.Finding{Actor: p.actor.Path, Violation: schemas.Violation{Message: text + silence(b)}})
	}
	return told
}

// shown is the number of units whose slack is listed.
const shown = 4

// slack says how much longer the scans of the units could take, for those that have the least
// slack.
func slack(b budget.Budget) string {
	units := slices.Clone(b.Units)
	slices.SortStableFunc(units, func(a, b budget.UnitShare) int { return cmp.Compare(a.Slack, b.Slack) })
	var parts []string
	for _, u := range units[:min(shown, len(units))] {
		parts = append(parts, fmt.Sprintf("%s %s", u.Name, u.Slack.Round(time.Millisecond)))
	}
	if more := len(units) - shown; more > 0 {
		parts = append(parts, fmt.Sprintf("%d more", more))
	}
	return "slack: " + strings.Join(parts, ", ")
}

// silence says by how much one silent unit delays the others.
func silence(b budget.Budget) string {
	if len(b.Units) < 2 {
		return ""
	}
	return fmt.Sprintf("; a silent unit delays the others by %s at most", b.Silent.Pause.Round(time.Millisecond))
}
