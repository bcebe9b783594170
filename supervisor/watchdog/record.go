package watchdog

import (
	"encoding/json"
	"fmt"
	"time"
)

// Limits of a record, to keep the file small enough for one quick write.
const (
	MaxEvents     = 50      // number of events kept, the newest
	maxEventBytes = 4 << 10 // per event; a longer one is truncated and kept as text
	maxCauseBytes = 2 << 10
)

// Record is the boot record of one life of the process.
type Record struct {
	Life     uint64            `json:"life"`               // counts up with every start, from 1
	BootID   string            `json:"boot_id"`            // /proc/sys/kernel/random/boot_id
	Started  time.Time         `json:"started"`            // wall-clock time, for people only
	LivedMS  int64             `json:"lived_ms"`           // running time at the last write, monotonic
	Mode     Mode              `json:"mode"`               // mode in which this life was started
	Complete bool              `json:"complete"`           // there was complete evidence at least once
	Healthy  bool              `json:"healthy"`            // there was complete evidence for a quiet period
	Withheld *Cause            `json:"withheld,omitempty"` // not petted at present, the watchdog may act
	Starved  *Cause            `json:"starved,omitempty"`  // stopped petting for good
	Clean    bool              `json:"clean"`              // stopped in an orderly way
	Events   []json.RawMessage `json:"events,omitempty"`   // the last ones, oldest first
}

// Outcome is how a life ended.
type Outcome string

// The outcomes.
const (
	First   Outcome = "first"   // there was no life before this one
	Clean   Outcome = "clean"   // stopped in an orderly way
	Starved Outcome = "starved" // the watchdog was not petted, see the cause
	Crashed Outcome = "crashed" // the process ended, the kernel did not: panic, kill -9, out of memory
	Reset   Outcome = "reset"   // the hardware watchdog reset the machine without starving: the system hung
	Lost    Outcome = "lost"    // the machine restarted without a trace: power cut, kernel panic
	Unknown Outcome = "unknown" // the record is damaged or missing
)

// Previous describes how the last life ended.
type Previous struct {
	Outcome    Outcome
	Cause      Cause      // with Starved: which part and why
	Record     Record     // zero with First and Unknown
	BootStatus BootStatus // the hardware's reset reason; only after a new boot
	NewBoot    bool       // the kernel has restarted since
	Aside      string     // where a damaged record was moved
}

// Failed reports whether the life counts as a failure of the gateway. A power cut counts only if
// there had been no complete evidence since the boot: the gateway may have caused it (a modem's
// inrush current), and people do not switch off and on that fast.
func (p Previous) Failed() bool {
	switch p.Outcome {
	case Starved, Crashed, Reset, Unknown:
		return true
	case Lost:
		return !p.Record.Complete
	}
	return false
}

// String returns a sentence for an operator.
func (p Previous) String() string {
	text := map[Outcome]string{
		First:   "first start",
		Clean:   "stopped in an orderly way",
		Starved: "the watchdog was starved by " + p.Cause.String(),
		Crashed: "the process ended without a stop (crash, kill -9 or out of memory)",
		Reset:   "the hardware watchdog reset the machine, which had hung",
		Lost:    "the machine restarted without a stop (power cut or kernel panic)",
		Unknown: "unknown, the boot record is damaged or gone",
	}[p.Outcome]
	if p.BootStatus != 0 {
		text += fmt.Sprintf(" (hardware: %s)", p.BootStatus)
	}
	return text
}

// classify returns the outcome of a readable record, given the present boot.
func classify(r Record, bootID string, status BootStatus) Previous {
	p := Previous{Record: r, NewBoot: r.BootID == "" || r.BootID != bootID}
	if p.NewBoot {
		p.BootStatus = status // an older boot has reported it already
	}
	switch {
	case r.Starved != nil:
		p.Outcome, p.Cause = Starved, *r.Starved
	case r.Clean:
		p.Outcome = Clean
	case r.Withheld != nil:
		p.Outcome, p.Cause = Starved, *r.Withheld
	case !p.NewBoot:
		p.Outcome = Crashed
	case p.BootStatus.CardReset():
		p.Outcome = Reset
	default:
		p.Outcome = Lost
	}
	return p
}

// add appends an event: JSON unchanged, anything else as a string.
func (r *Record) add(event string) {
	raw := json.RawMessage(event)
	if len(event) > maxEventBytes || !json.Valid(raw) {
		raw, _ = json.Marshal(event[:min(len(event), maxEventBytes)]) // a string always encodes
	}
	r.Events = append(r.Events, raw)
	if over := len(r.Events) - MaxEvents; over > 0 {
		r.Events = append([]json.RawMessage(nil), r.Events[over:]...)
	}
}

// cut limits the length of a cause, whose reason may quote anything.
func (c Cause) cut() *Cause {
	c.Path = c.Path[:min(len(c.Path), maxCauseBytes)]
	c.Reason = c.Reason[:min(len(c.Reason), maxCauseBytes)]
	return &c
}
