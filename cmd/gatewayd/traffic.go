package main

import (
	"time"
)

// traffic counts messages by the second.
type traffic struct {
	second [8]int64
	n      [8]int
}

func (t *traffic) count(now time.Time) {
	s := now.Unix()
	i := s % int64(len(t.n))
	if t.second[i] != s {
		t.second[i], t.n[i] = s, 0
	}
	t.n[i]++
}

// rate is messages per second over the last five whole seconds.
func (t *traffic) rate(now time.Time) float64 {
	if t == nil {
		return 0
	}
	sum := 0
	for i, s := range t.second {
		if ago := now.Unix() - s; ago >= 1 && ago <= 5 {
			sum += t.n[i]
		}
	}
	return float64(sum) / 5
}
