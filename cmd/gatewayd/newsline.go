package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gatewayd/actors"
	"gatewayd/bus"
	"gatewayd/cmd/gatewayd/terminal"
	actorv1 "gatewayd/schemas/actor/v1"
	configv1 "gatewayd/schemas/config/v1"
	drillv1 "gatewayd/schemas/drill/v1"
	modbusv1 "gatewayd/schemas/modbus/v1"
	mqttv1 "gatewayd/schemas/mqtt/v1"
	samplev1 "gatewayd/schemas/sample/v1"
	"gatewayd/supervisor/config"
)

// newsLine is something that happened, for people.
type newsLine struct {
	at     time.Time // when it happened
	who    string
	what   string
	colour string
	heard  time.Time
}

func (l newsLine) compare(m newsLine) int { return l.at.Compare(m.at) }

func (l newsLine) text(p terminal.Paint) string {
	return p.In(terminal.Dim, l.at.Local().Format(time.TimeOnly)) + "  " + p.In(terminal.Bold, l.who) + "  " + p.In(l.colour, l.what)
}

// healthLine tells of a health that has changed; groups only sum up and a start
// is no news.
func healthLine(path string, old, now *actorv1.Health) (l newsLine, worth bool) {
	if now.Kind == "group" || now.State == actors.Starting || old.GetState() == now.State {
		return l, false
	}
	c := terminal.HealthCell(now.State)
	what := c.Text
	if now.Cause != "" {
		what += ": " + now.Cause
	}
	return newsLine{at: now.Since.AsTime(), who: path, what: what, colour: c.Colour}, true
}

// eventLine tells of an event; a first life is no news.
func eventLine(a bus.Address, m bus.Msg) (l newsLine, worth bool) {
	l = newsLine{at: time.Now(), who: a.Path}
	switch a.Leaf {
	case "healed":
		h := &actorv1.Healed{}
		if m.Decode(h) == nil {
			return healedLine(h), true
		}
	case "started":
		s := &actorv1.Started{}
		if m.Decode(s) == nil {
			l.what = fmt.Sprintf("begins life %d", s.Life)
			return l, s.Life > 1
		}
	case "injected":
		i := &drillv1.Injected{}
		if m.Decode(i) == nil {
			l.who, l.what, l.colour = i.Fault.GetPath(), "drill: "+i.Fault.GetFault(), terminal.Yellow
			return l, true
		}
	case "failed":
		l.what = a.Leaf + " " + fieldsText(m)
		return l, false // its health tells it
	case "applied":
		v := &configv1.Applied{}
		if m.Decode(v) == nil {
			l.what = fmt.Sprintf("config version %d is in force, %s", v.Version, terminal.Counted(len(v.Changes), "change"))
			return l, true
		}
	case "rolled-back":
		b := &configv1.RolledBack{}
		if m.Decode(b) == nil {
			l.what, l.colour = rolledBackText(b), terminal.Red
			return l, true
		}
	case "rejected":
		r := &configv1.Rejected{}
		if m.Decode(r) == nil && len(r.Problems) > 0 {
			p := r.Problems[0]
			l.what = fmt.Sprintf("a config with %s changed nothing: %s:%d: %s: %s", terminal.Counted(len(r.Problems), "problem"), p.File, p.Line, p.Key, p.Message)
			l.colour = terminal.Yellow
			return l, true
		}
	}
	l.what = a.Leaf + " " + fieldsText(m)
	return l, true
}

// toldLine is an event by itself, where path and leaf are said beside it.
func toldLine(a bus.Address, m bus.Msg) newsLine {
	l, _ := eventLine(a, m)
	l.what = strings.TrimPrefix(l.what, a.Leaf+" ")
	if l.who != a.Path {
		l.what = l.who + ": " + l.what
	}
	return l
}

func rolledBackText(b *configv1.RolledBack) string {
	s := fmt.Sprintf("back to version %d", b.Restored)
	if b.Restored == 0 {
		s = "back to the last good config"
	}
	s += ", for " + strings.Join(b.Unhealthy, "; ")
	if b.Rejected != "" {
		s += "; what was refused is " + b.Rejected
	}
	return s
}

// fieldsText is a payload as its fields, in one line.
func fieldsText(m bus.Msg) string {
	fields, err := terminal.FieldsOf(m.Data)
	if m.ContentType != bus.JSON || err != nil {
		return terminal.Text(m)
	}
	parts := make([]string, 0, len(fields))
	for _, f := range fields {
		if f.Name != "time" && f.Name != "frames" {
			parts = append(parts, f.Name+" "+terminal.Flat(f.Value))
		}
	}
	return strings.Join(parts, ", ")
}

// framesOf are the recorded frames in an event: they are for lines of their own.
func framesOf(m bus.Msg) (frames []string) {
	if m.ContentType != bus.JSON || !bytes.Contains(m.Data, []byte(`"frames":`)) {
		return nil
	}
	fields, err := terminal.FieldsOf(m.Data)
	for i := 0; err == nil && i < len(fields); i++ {
		if fields[i].Name == "frames" {
			err = json.Unmarshal(fields[i].Value, &frames)
		}
	}
	for i := range frames {
		frames[i] = strings.Map(terminal.Printable, frames[i])
	}
	return frames
}

func healedLine(h *actorv1.Healed) newsLine {
	l := newsLine{at: h.Time.AsTime(), who: h.Child, colour: terminal.LevelColour(h.Level)}
	if h.Level == "recovered" {
		l.what = "healed: well again"
		return l
	}
	l.what = "healing: " + h.Level
	if h.Attempt > 0 {
		l.what += fmt.Sprintf(" no. %d, %d left", h.Attempt, h.Left)
	}
	l.what += ", because: " + h.Cause
	return l
}

// valuesText is the samples of a scan in one line, and whether they are good.
func valuesText(s *samplev1.Samples, units map[string]string) (text string, good bool) {
	if s == nil {
		return "", true
	}
	var parts []string
	good = true
	for _, one := range s.Samples {
		good = good && one.Quality == ""
		parts = append(parts, valueText(one, units[one.Point]))
	}
	return strings.Join(parts, "  "), good
}

// valueText is one value. What has no unit needs its name to mean anything.
func valueText(s *samplev1.Sample, unit string) string {
	text := "–"
	switch v := s.Value.(type) {
	case *samplev1.Sample_Number:
		text = numberText(v.Number)
	case *samplev1.Sample_Integer:
		text = strconv.FormatInt(v.Integer, 10)
	case *samplev1.Sample_Unsigned:
		text = strconv.FormatUint(v.Unsigned, 10)
	case *samplev1.Sample_Text:
		text = v.Text
	case *samplev1.Sample_Flag:
		text = "off"
		if v.Flag {
			text = "on"
		}
	}
	if unit == "" {
		return s.Point + " " + text
	}
	return text + " " + unit
}

// numberText is a number with one decimal, if it is not large or whole.
func numberText(x float64) string {
	switch {
	case x == float64(int64(x)):
		return strconv.FormatInt(int64(x), 10)
	case x >= 1000 || x <= -1000:
		return strconv.FormatFloat(x, 'f', 0, 64)
	}
	return strconv.FormatFloat(x, 'f', 1, 64)
}

// unitsOf are the physical units of all points, by actor and point.
func unitsOf(cfg *config.Tree) map[string]map[string]string {
	all := map[string]map[string]string{}
	cfg.Walk(func(n *config.Node) {
		units := map[string]string{}
		switch c := n.Config.(type) {
		case *modbusv1.Unit:
			for _, p := range c.Points {
				units[p.Name] = p.Unit
			}
		case *mqttv1.Device:
			for _, p := range c.Points {
				units[p.Name] = p.Unit
			}
		default:
			return
		}
		all[n.Path] = units
	})
	return all
}
