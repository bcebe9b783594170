package main

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// row is one line of the table.
type row struct {
	Figure string
	Value  string
	Peer   string // the peer's value, if there is a peer
	Ratio  float64
	Limit  string
	Pass   bool
	Judged bool // Pass is valid
	Note   string
}

// below judges a value that must not exceed a limit.
func (r row) below(value, limit float64) row {
	r.Judged, r.Pass = true, value <= limit
	return r
}

// above judges a value that must reach a limit.
func (r row) above(value, limit float64) row {
	r.Judged, r.Pass = true, value >= limit
	return r
}

type table struct{ missed, judged int }

const format = "%-4s %-46s %-26s %-34s %6s  %s\n"

func (t *table) head() { fmt.Printf(format, "", "figure", "gatewayd", "peer", "ratio", "limit") }

func (t *table) row(r row) {
	mark, ratio := "", ""
	if r.Judged {
		t.judged++
		mark = "ok"
		if !r.Pass {
			t.missed++
			mark = "MISS"
		}
	}
	if r.Ratio != 0 && !math.IsNaN(r.Ratio) && !math.IsInf(r.Ratio, 0) {
		ratio = fmt.Sprintf("%.2f", r.Ratio)
	}
	fmt.Printf(format, mark, r.Figure, r.Value, r.Peer, ratio, r.Limit)
	if r.Note != "" {
		fmt.Printf("%-4s %s\n", "", "  "+r.Note)
	}
}

func (t *table) foot(took time.Duration) {
	fmt.Printf("%d of %d limits held, %s\n", t.judged-t.missed, t.judged, took.Round(time.Second))
}

// median returns the median of values; 0 if there are none.
func median[T int64 | float64 | time.Duration](values []T) T { return quantile(values, 0.5) }

// quantile returns quantile q of values; 0 if there are none.
func quantile[T int64 | float64 | time.Duration](values []T, q float64) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
