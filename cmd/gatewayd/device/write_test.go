package device

import (
	"encoding/hex"
	"testing"

	"gatewayd/protocols/modbus/points"
)

// A label is written as the value it stands for, whatever else the word may mean.
func TestWhatIsTypedIsWritten(t *testing.T) {
	speed := points.Point{Type: points.Uint16, Finish: &points.Finish{Labels: []points.Label{{Value: 1, Text: "4800"}, {Value: 2, Text: "9600"}, {Value: 3, Text: "2"}}}}
	contact := points.Point{Type: points.Bool, Finish: &points.Finish{Labels: []points.Label{{Value: 0, Text: "On"}, {Value: 1, Text: "Off"}}}}
	for _, c := range []struct {
		point points.Point
		text  string
		want  string // in hex
	}{
		{speed, "9600", "0002"}, {speed, "2", "0002"}, {speed, "3", "0003"}, {speed, "19200", "4b00"},
		{contact, "on", "0000"}, {contact, "off", "0001"}, {contact, "true", "0001"}, {contact, "0", "0000"},
		{points.Point{Type: points.Bool}, "on", "0001"}, {points.Point{Type: points.Uint16}, "0x10", "0010"},
	} {
		c.point.Area = points.Holding
		v, err := valueIn(c.point, c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		data, err := c.point.Encode(v)
		if got := hex.EncodeToString(data); err != nil || got != c.want {
			t.Errorf("%s %s: %s, %v, want %s", c.point.Type, c.text, got, err, c.want)
		}
	}
}
