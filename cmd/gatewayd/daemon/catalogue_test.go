package daemon

import (
	"testing"
	"time"

	"gatewayd/actors/actorstest"
	"gatewayd/actors/erratic"
	erraticv1 "gatewayd/schemas/erratic/v1"
)

// The catalogue has the time since which calls are counted.
func TestServiceHasBegun(t *testing.T) {
	r := actorstest.New(t)
	before := time.Now()
	cell := r.Start("field/e", erratic.Kind, &erraticv1.Erratic{})
	after := time.Now()
	const clocks = time.Millisecond // time.Now twice: monotonic and wall clock may differ a little
	if s := service("demo", cell); s.Started.Before(before.Add(-clocks)) || s.Started.After(after.Add(clocks)) {
		t.Errorf("began at %v, not between %v and %v", s.Started, before, after)
	}
}
