package schedule

import (
	"cmp"
	"slices"
	"time"
)

const (
	// full is the share of its time beyond which a line, or a unit, cannot keep up.
	full = 1.0
	// keep is the share left to groups that keep their interval when others are shed: the rest is
	// for the shed ones.
	keep = 0.95
	// comfort is the largest share of a line that includes a group returning to its interval.
	comfort = 0.9
	// calm is how long there must be room for a shed group before it returns to its interval.
	calm = 10 * time.Second
)

// Demand is the time that a scan group needs.
type Demand struct {
	Key   string // unique within a line
	Unit  uint8
	Every time.Duration
	Share float64 // of the line's time
	Own   float64 // of its unit's time, including rests
}

// Overload decides which scan groups are shed, that is, no longer read at their interval, on a line
// that cannot keep up: the slowest ones, and as few as needed for the others to keep theirs. Each
// stays shed until there has been room for it for some time. How shed groups are read is not
// decided here: see class Shed. The zero value sheds nothing. Like a Breaker it is a plain state
// machine that belongs to one actor.
type Overload struct {
	shed  map[string]bool
	room  time.Duration // since when there has been room for the next group to return
	calm  bool
	share float64 // as last judged
}

// Judge takes the current demands of the groups and the share of the line's time used by anything
// else, and reports whether the set of shed groups has changed.
func (o *Overload) Judge(now time.Duration, groups []Demand, others float64) (changed bool) {
	own := 0.0
	o.share = others
	for _, g := range groups {
		o.share += g.Share
		own += g.Own
	}
	if len(o.shed) == 0 && o.share <= full && own <= full { // the usual case
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

// drop sheds the slowest groups of an overloaded line and of overloaded units.
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
			break // nobody would benefit
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

// kept returns the shares of the line's time, and of each unit's, needed by groups that are not
// shed.
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

// fits returns the group to return next, the fastest of those shed, if there is room for one.
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

// Sheds reports whether a group is shed.
func (o *Overload) Sheds(key string) bool { return o.shed[key] }

// Any reports whether any group is shed.
func (o *Overload) Any() bool { return len(o.shed) > 0 }

// Shed returns the keys of the shed groups, sorted; empty: the line keeps up.
func (o *Overload) Shed() []string {
	keys := make([]string, 0, len(o.shed))
	for key := range o.shed {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// Share returns the share of the line's time that was needed when it was last judged; 1 is all of
// it.
func (o *Overload) Share() float64 { return o.share }
