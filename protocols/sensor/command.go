package sensor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Command is a settable function of a device.
type Command struct {
	Name, Topic, Payload string // {value} in the payload stands for the value
	Type                 Kind   // Flag, Number or Text
	On, Off              string
	Min, Max             *float64
	Values               []string // allowed texts; none: any
	Confirm              int      // index of the point that confirms it; -1: none
	Tolerance            float64
	Timeout              time.Duration
}

// Placeholder stands for the value in the payload of a command.
const Placeholder = "{value}"

// maxText is the longest text that is sent, in bytes.
const maxText = 1024

// Render returns the payload for a value, or why it cannot be sent.
func (c *Command) Render(v Value) ([]byte, error) {
	text, err := c.text(v)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	if t := strings.TrimSpace(c.Payload); t != "" && strings.ContainsRune(`{["`, rune(t[0])) && t != Placeholder {
		text = escape(text)
	}
	return []byte(strings.ReplaceAll(c.Payload, Placeholder, text)), nil
}

func (c *Command) text(v Value) (string, error) {
	if v.Kind != c.Type {
		return "", fmt.Errorf("want a %s", [...]string{Number: "number", Flag: "flag", Text: "text"}[c.Type])
	}
	switch v.Kind {
	case Flag:
		if v.Flag {
			return c.On, nil
		}
		return c.Off, nil
	case Number:
		return v.String(), c.fits(v.Number)
	}
	switch {
	case len(v.Text) > maxText:
		return "", fmt.Errorf("text of %d bytes: at most %d can be sent", len(v.Text), maxText)
	case !utf8.ValidString(v.Text):
		return "", fmt.Errorf("%s is not UTF-8", excerpt(v.Text))
	case len(c.Values) > 0 && !slices.Contains(c.Values, v.Text):
		return "", fmt.Errorf("%s is not one of %s", excerpt(v.Text), strings.Join(c.Values, ", "))
	}
	return v.Text, nil
}

func (c *Command) fits(f float64) error {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return fmt.Errorf("%v is not a number", f)
	case c.Min != nil && f < *c.Min:
		return fmt.Errorf("%v is less than %v", f, *c.Min)
	case c.Max != nil && f > *c.Max:
		return fmt.Errorf("%v is more than %v", f, *c.Max)
	}
	return nil
}

// escape returns a text as it stands between the quotes of JSON.
func escape(text string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // encoding a string cannot fail
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(b.String(), "\n"), `"`), `"`)
}

// Count returns the number of messages with a point, to detect a later one.
func (d *Device) Count(point int) uint64 { return d.points[point].count }

// Confirms reports whether a point has the value that a command has set, in a message since the
// Count.
func (d *Device) Confirms(c *Command, v Value, since uint64) bool {
	r := &d.points[c.Confirm]
	if r.fault != "" || r.count < since || r.value.Kind == None {
		return false
	}
	switch v.Kind {
	case Flag:
		return r.value.Kind == Flag && r.value.Flag == v.Flag
	case Number:
		f, ok := r.value.number()
		return ok && math.Abs(f-v.Number) <= c.Tolerance+1e-9*math.Abs(v.Number)
	}
	return r.value.Kind == Text && r.value.Text == v.Text || r.label != "" && strings.EqualFold(r.label, v.Text)
}

// Text returns what a point says now, for people.
func (d *Device) Text(point int) string {
	r := &d.points[point]
	switch {
	case r.fault != "":
		return r.fault
	case r.label != "":
		return r.label
	}
	return r.value.String()
}
