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

// Evidence is the answer to one probe: which critical parts proved that they
// work. The zero value proves nothing.
type Evidence struct {
	Alive   int           // critical parts that gave proof; 0 is no evidence
	Missing []Missing     // the others; empty when the evidence is complete
	Age     time.Duration // how long ago the oldest answer was given, 0 to the dog's countdown; how long a part may be silent is for the probe to judge
}

// Probe gathers evidence. It should return when ctx ends; one that does not
// counts as no evidence and is left behind.
type Probe func(ctx context.Context) (Evidence, error)

// Cause says who starves the dog and why.
type Cause struct {
	Path   string `json:"path"`            // who has nothing left, or gives no proof
	Reason string `json:"reason"`          // why, for an operator
	Level  string `json:"level,omitempty"` // rung of the ladder, "watchdog" unless told
}

// String is "path: reason".
func (c Cause) String() string { return c.Path + ": " + c.Reason }

// keeperPath names the keeper itself in a cause: nobody in the tree is to blame.
const keeperPath = "watchdog"

// levelWatchdog is the name of L4 in records and events.
const levelWatchdog = "watchdog"

// lacking judges one answer; "" paths never occur. maxAge bounds its freshness.
func (e Evidence) lacking(maxAge time.Duration) []Missing {
	switch {
	case len(e.Missing) > 0:
		return e.Missing
	case e.Alive <= 0:
		return []Missing{{keeperPath, "the probe found nobody to ask"}}
	case e.Age < 0 || e.Age > maxAge:
		return []Missing{{keeperPath, fmt.Sprintf("the evidence is %s old, more than %s", e.Age, maxAge)}}
	}
	return nil
}

// describe lists who is missing, at most three by name.
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

// blame makes one cause of who is missing.
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
