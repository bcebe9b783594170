// Package record defines what a track passes to an uplink: values that were taken together, and
// when and how they were taken. All telemetry formats are encoded from it; it knows neither bus nor
// actors.
package record

import "time"

// A Record is what one track recorded at one moment.
type Record struct {
	Track    string // path of the track's actor, e.g. "tracks/energy"
	Number   uint32 // of the track, chosen in its config; compact formats send it instead of the name
	Sequence uint64 // counts the records of the track, from 1, across restarts: a gap is a loss

	Time    time.Time     // source time, UTC
	Trusted bool          // the clock was known to be right, or Time was corrected later
	Boot    string        // id of the boot in which it was taken
	Uptime  time.Duration // monotonic time since that boot

	Fields []Field // the fields of this record, in the order of the track's config
	Absent bool    // nothing was received for longer than allowed: there are no fields
	Cause  string  // the reason, for a record of absence or a triggered one
}

// A Field is one value.
type Field struct {
	Name    string // within its track
	ID      uint32 // number within its track, from 1; independent of the order in the config
	Unit    string // e.g. "kW"; empty: none or unknown
	Value   Value
	Quality string // empty is good; "stale"; "bad"
	Cause   string // why the quality is not good
}

// A Value is nil (never known), bool, int64, uint64, float64, string or []byte.
type Value any
