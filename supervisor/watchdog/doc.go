// Package watchdog is the last level (L4) of the healing ladder. It pets systemd and the hardware
// watchdog as long as there is evidence that the gateway works, and stops when there is none, so
// that something outside this process restarts it. It never reboots anything itself, and it knows
// nothing of actors or of the bus: what counts as evidence is the caller's [Probe].
//
// Terms: a [Watchdog] is a watchdog, to pet it is to restart its countdown, to starve it is to stop
// petting for good, and it bites when the countdown expires. A life is one run of the process.
//
// The package has three parts.
//
// A [Keeper] asks for [Evidence] and decides, by a pure function, whether to pet. The dogs
// ([Systemd], [Device], [Pair], [None]) are armed by the first complete evidence and not before.
//
// A [Book] writes the boot record: which part caused the starving and why, the last events, and
// whether the stop was clean. [Open] returns how the last life ended.
//
// A [Breaker] increases the time between repeated restarts and finally starts in safe mode.
//
// # Time
//
// A gateway without a battery-backed clock starts in 1970 and jumps by decades when NTP answers; a
// bad NTP server can set it back. Therefore no decision here depends on wall-clock time. The keeper
// counts from its own start on the monotonic clock and takes the age of evidence as a duration.
//
// Across lives no clock is reliable (the monotonic one restarts with the kernel), so the ledger
// measures in lives and in accumulated running time. Each record says how long its life has lasted:
// exactly at the end, and in between at checkpoints whose distance doubles from one minute to one
// hour. The ledger adds these up. The age of a failure is the running time recorded since. Time
// without power does not count, and a life that was cut short may be under-counted by half. Both
// make failures look more recent than they are, which errs towards waiting longer. Wall-clock times
// in the files are for people.
//
// # Files
//
// Each file is written under a temporary name, synced and renamed, and its directory is synced; its
// content carries a SHA-256 sum. A file that does not verify is moved aside and read as unknown,
// never as clean. If the directory cannot be written, everything continues in memory and the log
// says so once.
package watchdog
