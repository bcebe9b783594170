package serialline_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusunit"
	"gatewayd/actors/serialline"
	actorv1 "gatewayd/schemas/actor/v1"
)

func overRecording(dial actorstest.Dial) []actors.Kind {
	return []actors.Kind{serialline.Over(dial), modbusunit.Kind}
}

// An incident from the field: meter 7 falls silent after 7 s and, when it is asked again after 28
// s, is busy for a moment. Meter 8 on the same line is not affected.
func TestAFieldIncident(t *testing.T) {
	got := actorstest.Replay(t, "testdata/incident.txt", "testdata/incident.toml", overRecording)
	if len(got.Strangers) > 0 || len(got.Faults) > 0 {
		t.Fatalf("requests nobody made then: %q; faults: %v", got.Strangers, got.Faults)
	}
	begin := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // start of virtual time
	ill := got.Samples("field/rs485-1/meter-7", "points")
	if len(ill) < 35 {
		t.Fatalf("%d samples in 35 s", len(ill))
	}
	var causes []string
	for _, s := range ill {
		after, one := s.Time.AsTime().Sub(begin), s.Samples[0]
		causes = append(causes, one.Cause)
		good := one.Quality == ""
		switch {
		case good && (one.GetNumber() < 229 || one.GetNumber() > 234):
			t.Errorf("after %s: nobody has measured %v", after, one)
		case good && after > 8*time.Second && after < 27*time.Second, !good && after < 6*time.Second:
			t.Errorf("after %s: %v", after, one)
		}
	}
	// When it is asked again, and so whether it is found busy, depends on the share of the line
	// that probes get.
	for _, want := range []string{"timeout", "quarantined"} {
		if !slices.ContainsFunc(causes, func(c string) bool { return strings.HasPrefix(c, want) }) {
			t.Errorf("no sample is stale because of %s", want)
		}
	}
	for _, s := range got.Samples("field/rs485-1/meter-8", "points") {
		if s.Samples[0].Quality != "" {
			t.Errorf("the neighbour: %v", s)
		}
	}
	if !slices.ContainsFunc(got.Published, func(p actorstest.Published) bool {
		h, ok := p.Message.(*actorv1.Health)
		return ok && strings.HasSuffix(p.Subject, "meter-7.health") && h.State == actors.Unreachable
	}) {
		t.Error("meter 7 was never unreachable")
	}
}
