package schedule

import (
	"cmp"
	"slices"
	"time"
)

const (
	// full is the share of its time beyond which a line, or a unit, cannot keep up.
	full = 1.0
	// keep is how much those have at most that keep their rhythm when others lose theirs: the rest is for what is shed.
	keep = 0.95
	// comfort is how full a line may be with a group that gets its rhythm back.
	comfort = 0.9
	// calm is how long there must be room for a shed group before it gets its rhythm back.
	calm = 10 * time.Second
)

// Demand is what a scan group asks of its line.
type Demand struct {
	Key   string // no two groups of a line have the same
	Unit  uint8
	Every time.Duration
	Share float64 // of the line's time
	Own   float64 // of its unit's time, with the rests
}

// Overload decides which scan groups lose their rhythm on a line that cannot keep up: the slowest, as few as are enough for the others to keep
// theirs, and each until there has been room for it for a while. What is shed says nothing of how it is read then: see Shed.
// The zero value sheds nothing. Like a Breaker it is a plain state machine of one actor.
type Overload struct {
	shed  map[string]bool
	room  time.Duration // since when there is room for the next one that comes back
	calm  bool
	share float64 // as last judged
}

// Judge takes what groups ask for now, and what else takes the line's time, and reports whether what is shed has changed.
func (o *Overload) Judge(now time.Duration, groups []Demand, others float64) (changed bool) {
	own := 0.0
	o.share = others
	for _, g := range groups {
		o.share += g.Share
		own += g.Own
	}
	if len(o.shed) == 0 && o.share <= full && own <= full { // as it mostly is
		o.calm = false
		return false
	}
	groups = slices.SortedFunc(slices.Values(groups), slower)
	present := make(map[string]bool, len(groups))
	for _, g := range groups {
		present[g.Key] = true
	}
	for key := range o.shed {
		if !present[key] {
			delete(o.shed, key)
			changed = true
		}
	}
	if o.drop(groups, others) {
		o.calm = false
		return true
	}
	next, ok := o.fits(groups, others)
	switch {
	case !ok:
		o.calm = false
	case !o.calm:
		o.calm, o.room = true, now
	case now-o.room >= calm:
		delete(o.shed, next)
		o.calm = false
		return true
	}
	return changed
}

// slower is the order in which groups are shed.
func slower(a, b Demand) int {
	return cmp.Or(cmp.Compare(b.Every, a.Every), cmp.Compare(b.Share, a.Share), cmp.Compare(a.Key, b.Key))
}

// drop sheds the slowest groups of a line that is too full, and of units that are.
func (o *Overload) drop(groups []Demand, others float64) (changed bool) {
	line, units := o.kept(groups, others)
	tight := line > full
	crowded := map[uint8]bool{}
	for unit, own := range units {
		crowded[unit] = own > full
	}
	left := len(groups) - len(o.shed)
	for _, g := range groups {
		if o.shed[g.Key] || !(tight && line > keep || crowded[g.Unit] && units[g.Unit] > keep) {
			continue
		}
		if left == 1 && line <= full && units[g.Unit] <= full {
			break // nobody would gain by it
		}
		left--
		if o.shed == nil {
			o.shed = map[string]bool{}
		}
		o.shed[g.Key], changed = true, true
		line -= g.Share
		units[g.Unit] -= g.Own
	}
	return changed
}

// kept is how much of the line's time, and of each unit's, goes to what is not shed.
func (o *Overload) kept(groups []Demand, others float64) (line float64, units map[uint8]float64) {
	line, units = others, map[uint8]float64{}
	for _, g := range groups {
		if !o.shed[g.Key] {
			line += g.Share
			units[g.Unit] += g.Own
		}
	}
	return line, units
}

// fits is the group that comes back next, the fastest of those shed, if there is room for one.
func (o *Overload) fits(groups []Demand, others float64) (key string, ok bool) {
	line, units := o.kept(groups, others)
	for _, g := range slices.Backward(groups) {
		if !o.shed[g.Key] {
			continue
		}
		if line+g.Share > comfort {
			return "", false
		}
		if units[g.Unit]+g.Own <= comfort {
			return g.Key, true
		}
	}
	return "", false
}

// Sheds says whether a group has lost its rhythm.
func (o *Overload) Sheds(key string) bool { return o.shed[key] }

// Any says whether any group has.
func (o *Overload) Any() bool { return len(o.shed) > 0 }

// Shed lists the groups that have lost their rhythm, in the order of their keys; empty: the line keeps up.
func (o *Overload) Shed() []string {
	keys := make([]string, 0, len(o.shed))
	for key := range o.shed {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// Share is how much of the line's time was asked for when it was last judged, 1 for all of it.
func (o *Overload) Share() float64 { return o.share }
