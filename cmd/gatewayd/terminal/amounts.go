package terminal

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// Age formats a duration in its two largest units: 5s, 3m12s, 2h04m, 3d07h.
func Age(d time.Duration) string {
	s := int64(max(d, 0).Seconds())
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh%02dm", s/3600, s%3600/60)
	}
	return fmt.Sprintf("%dd%02dh", s/86400, s%86400/3600)
}

// Since formats the time since at; nil stands for never.
func Since(at *timestamppb.Timestamp, now time.Time) string {
	if at == nil {
		return "–"
	}
	return Age(now.Sub(at.AsTime()))
}

// Size formats a number of bytes in B, KiB or MiB.
func Size(n uint64) string {
	switch {
	case n < 10<<10:
		return fmt.Sprintf("%d B", n)
	case n < 10<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d MiB", n>>20)
}

// Counted formats a number of things: 1 problem, 2 problems.
func Counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// Problems formats the numbers of errors and warnings of a file: 2 problems and 1 warning.
func Problems(errors, warnings int) string {
	if warnings == 0 {
		return Counted(errors, "problem")
	}
	return Counted(errors, "problem") + " and " + Counted(warnings, "warning")
}
