// Package record is what a track hands to an uplink: values that were taken together, with what is known of
// when and how. It is the common tongue of the formats that carry telemetry; it knows no bus and no actor.
package record

import "time"

// A Record is what one track noted at one moment.
type Record struct {
	Track    string // name of the track's actor, e.g. "tracks/energy"
	Number   uint32 // of the track, chosen in its config; what compact formats send instead of the name
	Sequence uint64 // counts the records of the track, from 1, across restarts: a gap is a loss

	Time    time.Time     // source time, UTC
	Trusted bool          // the clock was known to be right, or Time was corrected when it became so
	Boot    string        // id of the boot it was taken in
	Uptime  time.Duration // monotonic time since that boot

	Fields []Field // those that this record has, in the order of the track's config
	Absent bool    // nothing was heard of the track for longer than allowed: there are no fields
	Cause  string  // why, of a record of absence or of a triggered one
}

// A Field is one value.
type Field struct {
	Name    string // within its track
	ID      uint32 // its number within its track, from 1; stays when the config is reordered
	Unit    string // e.g. "kW"; empty: none or unknown
	Value   Value
	Quality string // empty is good; "stale"; "bad"
	Cause   string // why the quality is not good
}

// A Value is nil (never known), bool, int64, uint64, float64, string or []byte.
type Value any
