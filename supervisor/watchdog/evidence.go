package watchdog

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Missing is a critical part that gave no proof of life.
type Missing struct {
	Path   string `json:"path"`   // the actor or group, e.g. "field/rs485-1"
	Reason string `json:"reason"` // what is missing, for an operator
}

// Evidence is the result of one probe: which critical parts proved that they work. The zero value
// proves nothing.
type Evidence struct {
	Alive   int       // critical parts that gave proof; 0 is no evidence
	Missing []Missing // the others; empty if the evidence is complete
	// How long ago the oldest proof was given, 0 to the watchdog's countdown. How long a part may
	// be silent is for the probe to judge.
	Age time.Duration
}

// Probe gathers evidence. It should return when ctx ends; a probe that does not counts as no
// evidence and is abandoned.
type Probe func(ctx context.Context) (Evidence, error)

// Cause says why the watchdog is no longer petted.
type Cause struct {
	Path   string `json:"path"`            // the part that has used up its ladder, or gives no proof
	Reason string `json:"reason"`          // why, for an operator
	Level  string `json:"level,omitempty"` // level of the ladder, "watchdog" unless set
}

// String returns "path: reason".
func (c Cause) String() string { return c.Path + ": " + c.Reason }

// keeperPath names the keeper itself in a cause, if no part of the tree is responsible.
const keeperPath = "watchdog"

// levelWatchdog is the name of L4 in records and events.
const levelWatchdog = "watchdog"

// lacking returns what is missing from the evidence; nil if it is complete. maxAge bounds its age.
func (e Evidence) lacking(maxAge time.Duration) []Missing {
	switch {
	case len(e.Missing) > 0:
		return e.Missing
	case e.Alive <= 0:
		return []Missing{{keeperPath, "the probe found no actor to ask"}}
	case e.Age < 0 || e.Age > maxAge:
		return []Missing{{keeperPath, fmt.Sprintf("the evidence is %s old, more than %s", e.Age, maxAge)}}
	}
	return nil
}

// describe lists the missing parts, at most three by name.
func describe(missing []Missing) string {
	const named = 3
	var b strings.Builder
	for i, m := range missing {
		if i == named {
			fmt.Fprintf(&b, " and %d more", len(missing)-named)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(m.Path + ": " + m.Reason)
	}
	return b.String()
}

// blame combines the missing parts into one cause.
func blame(missing []Missing) Cause {
	c := Cause{Path: keeperPath, Reason: "no evidence", Level: levelWatchdog}
	if len(missing) == 1 {
		c.Path, c.Reason = missing[0].Path, missing[0].Reason
	} else if len(missing) > 1 {
		c.Path = missing[0].Path
		c.Reason = describe(missing[:1])[len(c.Path)+2:] + "; also " + describe(missing[1:])
	}
	return c
}
