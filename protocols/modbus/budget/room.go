package budget

import (
	"math"
	"time"
)

// Room returns how many more units like the given one fit on a line up to Comfort, if all of their
// groups are read once per every; 0 keeps the intervals of the given unit. It is -1 if the unit
// takes no known time.
func Room(line Line, units []Unit, like Unit, every time.Duration) int {
	like = paced(like, every)
	one := line.unit(&like)
	if one.Share <= 0 {
		return -1
	}
	if one.Own > Full {
		return 0
	}
	free := Comfort - Compute(line, units).Share
	// The result for an exact fit must not depend on floating-point rounding.
	return int(min(max(0, math.Floor(free/one.Share+1e-9)), math.MaxInt32))
}

// paced returns u with every as the interval of all groups.
func paced(u Unit, every time.Duration) Unit {
	if every <= 0 {
		return u
	}
	groups := make([]Group, len(u.Groups))
	for i, g := range u.Groups {
		groups[i] = g
		groups[i].Every = every
	}
	u.Groups = groups
	return u
}

// Advice is a change that makes room on an overloaded line.
type Advice struct {
	Unit  string        // the unit to change; empty: all units
	Group string        // the group to change; empty: all groups of the unit
	Every time.Duration // the interval that would fit
	// Factor is the factor by which all intervals would have to be multiplied if no single change
	// is enough.
	Factor float64
}

// Fit returns a change after which the polls fit within Comfort: another interval of the group, or
// else of the unit, that takes the most time, or slower polls of all. ok is false if no interval
// helps.
func Fit(line Line, units []Unit) (a Advice, ok bool) {
	b := Compute(line, units)
	if b.Share <= line.Others {
		return a, false
	}
	var worst *UnitShare
	var group *GroupShare
	for i := range b.Units {
		u := &b.Units[i]
		if worst == nil || u.Share > worst.Share {
			worst = u
		}
		for k := range u.Groups {
			if g := &u.Groups[k]; group == nil || g.Share > group.Share {
				group = g
				a = Advice{Unit: u.Name, Group: g.Name}
			}
		}
	}
	if every, fits := stretched(group.Share, b.Share, group.Every); fits {
		a.Every = every
		return a, true
	}
	if same := sameRhythm(worst.Unit); same > 0 {
		if every, fits := stretched(worst.Share, b.Share, same); fits {
			return Advice{Unit: worst.Name, Every: every}, true
		}
	}
	if line.Others >= Comfort {
		return Advice{}, false
	}
	factor := (b.Share - line.Others) / (Comfort - line.Others)
	return Advice{Factor: math.Ceil(factor*10) / 10}, true
}

// FitUnit returns the factor, at least 1, by which a unit's intervals would have to be multiplied
// for its own time to suffice.
func FitUnit(u UnitShare) float64 { return max(1, math.Ceil(u.Own/Comfort*10)/10) }

// most is the largest factor by which slowing down a single group is advised.
const most = 20

// stretched returns the interval at which polls that now take share of the total all leave the line
// within Comfort.
func stretched(share, all float64, every time.Duration) (time.Duration, bool) {
	left := Comfort - (all - share)
	if left <= 0 || share/left > most {
		return 0, false
	}
	return round(time.Duration(math.Ceil(float64(every) * share / left))), true
}

// sameRhythm returns the common interval of all of a unit's groups, or 0 if they differ.
func sameRhythm(u *Unit) time.Duration {
	for _, g := range u.Groups[1:] {
		if g.Every != u.Groups[0].Every {
			return 0
		}
	}
	return u.Groups[0].Every
}

// round rounds up to a round interval.
func round(d time.Duration) time.Duration {
	for unit := time.Millisecond; ; unit *= 10 {
		for _, n := range [...]time.Duration{10, 12, 15, 20, 25, 30, 40, 50, 60, 80} {
			if nice := n * unit; nice >= d || nice > math.MaxInt64/100 {
				return nice
			}
		}
	}
}
