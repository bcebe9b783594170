package schedule

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func demand(key string, unit uint8, every time.Duration, share float64) Demand {
	return Demand{Key: key, Unit: unit, Every: every, Share: share, Own: share}
}

func TestTheSlowestGroupIsShedFirst(t *testing.T) {
	for _, c := range []struct {
		name   string
		groups []Demand
		others float64
		want   string
	}{
		{"there is time", []Demand{demand("a", 1, time.Second, 0.5), demand("b", 2, time.Minute, 0.5)}, 0, "[]"},
		{"the slowest is enough", []Demand{demand("a", 1, time.Second, 0.8), demand("b", 2, time.Minute, 0.3)}, 0, "[b]"},
		{"two are needed", []Demand{demand("a", 1, time.Second, 0.7), demand("b", 2, time.Minute, 0.1), demand("c", 3, 10*time.Second, 0.3)}, 0, "[b c]"},
		{"of equals the largest", []Demand{demand("a", 1, time.Second, 0.4), demand("b", 2, time.Second, 0.5), demand("c", 3, time.Second, 0.3)}, 0, "[b]"},
		{"then by key", []Demand{demand("b", 2, time.Second, 0.6), demand("a", 1, time.Second, 0.6)}, 0, "[a]"},
		{"others take the line", []Demand{demand("a", 1, time.Second, 0.4), demand("b", 2, time.Minute, 0.3)}, 0.4, "[b]"},
		{"the last one keeps what fits", []Demand{demand("a", 1, time.Second, 0.98), demand("b", 2, time.Minute, 0.1)}, 0, "[b]"},
		{"one alone is too much", []Demand{demand("a", 1, time.Second, 1.2)}, 0, "[a]"},
		{"a unit that must rest", []Demand{{"a", 1, time.Second, 0.1, 0.8}, {"b", 1, time.Minute, 0.1, 0.3}, {"c", 2, time.Hour, 0.1, 0.1}}, 0, "[b]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var o Overload
			o.Judge(0, c.groups, c.others)
			if got := fmt.Sprint(o.Shed()); got != c.want {
				t.Errorf("sheds %s, want %s", got, c.want)
			}
		})
	}
}

func TestARhythmComesBackAfterAWhile(t *testing.T) {
	var o Overload
	at := func(now time.Duration, share float64) string {
		o.Judge(now, []Demand{demand("a", 1, time.Second, share), demand("b", 2, time.Minute, 0.2)}, 0)
		return fmt.Sprint(o.Shed())
	}
	for _, step := range []struct {
		now   time.Duration
		share float64
		want  string
	}{
		// Hysteresis: 0.95 is neither an overload nor enough room.
		{0, 0.9, "[b]"}, {time.Second, 0.85, "[b]"}, {100 * time.Second, 0.75, "[b]"},
		{101 * time.Second, 0.6, "[b]"}, {110 * time.Second, 0.75, "[b]"}, // not for long enough
		{111 * time.Second, 0.6, "[b]"}, {121 * time.Second, 0.6, "[]"},
		{122 * time.Second, 0.78, "[]"},
	} {
		if got := at(step.now, step.share); got != step.want {
			t.Fatalf("at %s with %.2f: sheds %s, want %s", step.now, step.share, got, step.want)
		}
	}
}

// For any demands: the groups that keep their interval fit if they did not fit before, no group
// slower than a shed one keeps its interval, equal demands are judged once, and a line with room
// eventually sheds nothing.
func TestOverloadKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var o Overload
		now := time.Duration(0)
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			now += time.Duration(rapid.IntRange(0, 30).Draw(t, "seconds")) * time.Second
			var groups []Demand
			for i := range rapid.IntRange(0, 8).Draw(t, "groups") {
				groups = append(groups, demand(fmt.Sprint(i), uint8(i), time.Duration(rapid.IntRange(1, 5).Draw(t, "every"))*time.Second,
					rapid.Float64Range(0, 0.6).Draw(t, "share")))
			}
			o.Judge(now, groups, 0)
			kept, _ := o.kept(groups, 0)
			if kept > full {
				t.Fatalf("%.2f of the time is promised", kept)
			}
			first := o.Shed()
			o.Judge(now, slices.Clone(groups), 0)
			if !slices.Equal(first, o.Shed()) {
				t.Fatalf("equal demands are judged differently: %v, then %v", first, o.Shed())
			}
			if rapid.Bool().Draw(t, "calm") {
				for range len(groups) {
					for i := range groups {
						groups[i].Share, groups[i].Own = 0.05, 0.05
					}
					for range 2 {
						now += calm
						o.Judge(now, groups, 0)
					}
				}
				if shed := o.Shed(); len(shed) > 0 {
					t.Fatalf("%v are shed on a line with room", shed)
				}
			}
		}
	})
}
