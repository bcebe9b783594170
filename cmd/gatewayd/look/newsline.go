package look

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

// NewsLine is a line of news for people.
type NewsLine struct {
	At     time.Time // when it happened
	Who    string
	What   string
	Colour string
	Heard  time.Time
}

// Compare orders lines by the time at which something happened.
func (l NewsLine) Compare(m NewsLine) int { return l.At.Compare(m.At) }

// Text returns the line as it is printed.
func (l NewsLine) Text(p terminal.Paint) string {
	return p.In(terminal.Dim, l.At.Local().Format(time.TimeOnly)) + "  " + p.In(terminal.Bold, l.Who) + "  " + p.In(l.Colour, l.What)
}

// HealthLine returns a line for a change of health. Changes of groups, which only sum up their
// children, and starts are not worth printing.
func HealthLine(path string, old, now *actorv1.Health) (l NewsLine, worth bool) {
	if now.Kind == "group" || now.State == actors.Starting || old.GetState() == now.State {
		return l, false
	}
	c := terminal.HealthCell(now.State)
	what := c.Text
	if now.Cause != "" {
		what += ": " + now.Cause
	}
	return NewsLine{At: now.Since.AsTime(), Who: path, What: what, Colour: c.Colour}, true
}

// EventLine returns a line for an event. The start of a first life is not worth printing, nor a
// failure, which its change of health shows.
func EventLine(a bus.Address, m bus.Msg) (l NewsLine, worth bool) {
	l = NewsLine{At: time.Now(), Who: a.Path}
	switch a.Leaf {
	case "healed":
		h := &actorv1.Healed{}
		if m.Decode(h) == nil {
			return healedLine(h), true
		}
	case "started":
		s := &actorv1.Started{}
		if m.Decode(s) == nil {
			l.What = fmt.Sprintf("started (life %d)", s.Life)
			return l, s.Life > 1
		}
	case "injected":
		i := &drillv1.Injected{}
		if m.Decode(i) == nil {
			l.Who, l.What, l.Colour = i.Fault.GetPath(), "drill: "+i.Fault.GetFault(), terminal.Yellow
			return l, true
		}
	case "failed":
		l.What = a.Leaf + " " + fieldsText(m)
		return l, false // shown by the change of health
	case "applied":
		v := &configv1.Applied{}
		if m.Decode(v) == nil {
			l.What = fmt.Sprintf("config version %d is in force, %s", v.Version, terminal.Counted(len(v.Changes), "change"))
			return l, true
		}
	case "rolled-back":
		b := &configv1.RolledBack{}
		if m.Decode(b) == nil {
			l.What, l.Colour = rolledBackText(b), terminal.Red
			return l, true
		}
	case "rejected":
		r := &configv1.Rejected{}
		if m.Decode(r) == nil && len(r.Problems) > 0 {
			p := r.Problems[0]
			l.What = fmt.Sprintf("config refused (%s): %s:%d: %s: %s", terminal.Counted(len(r.Problems), "problem"), p.File, p.Line, p.Key, p.Message)
			l.Colour = terminal.Yellow
			return l, true
		}
	}
	l.What = a.Leaf + " " + fieldsText(m)
	return l, true
}

// toldLine returns the line of an event for a table that has columns for path and event.
func toldLine(a bus.Address, m bus.Msg) NewsLine {
	l, _ := EventLine(a, m)
	l.What = strings.TrimPrefix(l.What, a.Leaf+" ")
	if l.Who != a.Path {
		l.What = l.Who + ": " + l.What
	}
	return l
}

func rolledBackText(b *configv1.RolledBack) string {
	s := fmt.Sprintf("rolled back to version %d", b.Restored)
	if b.Restored == 0 {
		s = "rolled back to the last good config"
	}
	s += " because of " + strings.Join(b.Unhealthy, "; ")
	if b.Rejected != "" {
		s += "; the refused config is in " + b.Rejected
	}
	return s
}

// fieldsText returns the fields of a payload in one line.
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

// framesOf returns the recorded frames in an event, which are printed on lines of their own.
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

func healedLine(h *actorv1.Healed) NewsLine {
	l := NewsLine{At: h.Time.AsTime(), Who: h.Child, Colour: terminal.LevelColour(h.Level)}
	if h.Level == "recovered" {
		l.What = "healed"
		return l
	}
	l.What = "healing: " + h.Level
	if h.Attempt > 0 {
		l.What += fmt.Sprintf(" (attempt %d, %d left)", h.Attempt, h.Left)
	}
	l.What += ": " + h.Cause
	return l
}

// ValuesText returns the samples of a scan in one line, and whether all of them are good.
func ValuesText(s *samplev1.Samples, units map[string]string) (text string, good bool) {
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

// valueText returns one value with its unit. A value without a unit gets the name of its point,
// without which it would mean nothing.
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

// numberText formats a number with one decimal, or none if it is whole or its amount is 1000 or
// more.
func numberText(x float64) string {
	switch {
	case x == float64(int64(x)):
		return strconv.FormatInt(int64(x), 10)
	case x >= 1000 || x <= -1000:
		return strconv.FormatFloat(x, 'f', 0, 64)
	}
	return strconv.FormatFloat(x, 'f', 1, 64)
}

// UnitsOf returns the physical units of all points, by actor and point.
func UnitsOf(cfg *config.Tree) map[string]map[string]string {
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
