package budget

import (
	"math"
	"time"
)

// Room is how many more units like one of them a line has comfortable room for, all of its groups read once per every; 0 for as often as
// they are. It is -1 when they take no time that is known.
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
	// What fits exactly does not depend on how floating point rounds.
	return int(min(max(0, math.Floor(free/one.Share+1e-9)), math.MaxInt32))
}

// paced is u with all groups read once per every.
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

// Advice is a change after which a line that is too full has room.
type Advice struct {
	Unit  string        // whose group it is; empty: all groups of all units
	Group string        // whose interval; empty: all groups of the unit
	Every time.Duration // the interval that would fit
	// Factor is by what all intervals would have to be multiplied, where none of them alone is enough.
	Factor float64
}

// Fit says what would make the line fit comfortably: another interval of the one group, or else unit, that takes most, or slower polls of
// all. ok is false when no interval helps.
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

// FitUnit is the factor by which a unit's intervals would have to be multiplied for its own time to be enough, and at least 1.
func FitUnit(u UnitShare) float64 { return max(1, math.Ceil(u.Own/Comfort*10)/10) }

// most is how much slower one group may be told to be read; beyond it is no advice.
const most = 20

// stretched is the interval at which what takes share of all now leaves the line comfortable.
func stretched(share, all float64, every time.Duration) (time.Duration, bool) {
	left := Comfort - (all - share)
	if left <= 0 || share/left > most {
		return 0, false
	}
	return round(time.Duration(math.Ceil(float64(every) * share / left))), true
}

// sameRhythm is the interval of all of a unit's groups; 0: they differ.
func sameRhythm(u *Unit) time.Duration {
	for _, g := range u.Groups[1:] {
		if g.Every != u.Groups[0].Every {
			return 0
		}
	}
	return u.Groups[0].Every
}

// round is the next interval that somebody would write.
func round(d time.Duration) time.Duration {
	for unit := time.Millisecond; ; unit *= 10 {
		for _, n := range [...]time.Duration{10, 12, 15, 20, 25, 30, 40, 50, 60, 80} {
			if nice := n * unit; nice >= d || nice > math.MaxInt64/100 {
				return nice
			}
		}
	}
}
