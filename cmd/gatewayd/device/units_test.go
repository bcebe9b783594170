package device

import (
	"testing"
)

func TestUnitsAsTheyAreWritten(t *testing.T) {
	for text, want := range map[string]string{"1": "1", "1-3": "1-3", "5, 1-3,2-4": "1-5", "7,9": "7,9", "255": "255"} {
		units, err := ParseUnits(text, 255)
		if err != nil || UnitsText(units) != want {
			t.Errorf("%s is %s, %v", text, UnitsText(units), err)
		}
	}
	for _, text := range []string{"", "0", "256", "3-1", "a", "1-", "-1", "1,,2"} {
		if units, err := ParseUnits(text, 255); err == nil {
			t.Errorf("%q is %v", text, units)
		}
	}
}
