// Package watchdog is the last rung (L4) of the healing ladder: it pets systemd
// and the hardware watchdog as long as there is evidence that the gateway works,
// and stops when there is none, so that something outside this process restarts
// it. It never reboots anything itself, and it knows nothing of actors or of the
// bus: what counts as evidence is the caller's [Probe].
//
// Three parts work together.
//
// A [Keeper] asks for [Evidence] and decides, by a pure function, whether to pet.
// The dogs ([Systemd], [Device], [Both], [None]) are armed by the first complete
// evidence and not before.
//
// A [Book] writes the boot record: who starved the dog and why, the last events,
// and whether the stop was clean. [Open] tells how the last life ended.
//
// A [Breaker] spaces repeated restarts out and ends in safe mode.
//
// # Time
//
// A gateway without a battery-backed clock starts in 1970 and jumps decades when
// NTP answers; a bad NTP server jumps it back. So nothing here decides by wall
// time. The keeper counts from its own start on the monotonic clock and takes
// the age of evidence as a duration. Across lives no clock is trustworthy (the
// monotonic one restarts with the kernel), so the ledger measures in lives and
// in accumulated running time: each record says how long its life has lasted
// (at the end exactly, in between at checkpoints that double from one minute to
// one hour), and the ledger adds these up. A failure is as old as the running
// time booked since. Time without power counts for nothing and a life cut short
// may be under-counted by half; both make failures look fresher than they are,
// which errs towards waiting longer. Wall times in the files are for people.
//
// # Files
//
// Each file is written to a temporary name, synced, renamed, and its directory
// synced; its content carries a SHA-256 sum. A file that does not verify is
// moved aside and read as unknown, never as clean. When the directory cannot be
// written, everything continues in memory and the log says so once.
package watchdog
