package mqttbridge_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"gatewayd/protocols/mqttbridge"
	"gatewayd/protocols/mqttclient"
)

func TestTopicsOfASet(t *testing.T) {
	for _, x := range []struct {
		m             mqttbridge.Map
		local, remote string // one of them empty: not in the set
	}{
		{mqttbridge.Map{Filter: "data/#", Remote: "sites/7/"}, "data/field/a/points", "sites/7/data/field/a/points"},
		{mqttbridge.Map{Filter: "#", Local: "data/", Remote: "up/"}, "data/x", "up/x"},
		{mqttbridge.Map{Filter: "+/SENSOR", Local: "tele/", Remote: "t/"}, "tele/a/SENSOR", "t/a/SENSOR"},
		{mqttbridge.Map{Filter: "+/SENSOR", Local: "tele/", Remote: "t/"}, "tele/a/STATE", ""},
		{mqttbridge.Map{Filter: "+/SENSOR", Local: "tele/", Remote: "t/"}, "tele/SENSOR", ""},
		{mqttbridge.Map{Filter: "a/b"}, "a/b", "a/b"},
		{mqttbridge.Map{Filter: "a/#", Local: "x/"}, "a/b", ""},
	} {
		got, ok := x.m.ToRemote(x.local)
		if ok != (x.remote != "") || got != x.remote {
			t.Errorf("%+v: %s is %q there", x.m, x.local, got)
		}
		if back, ok := x.m.ToLocal(x.remote); x.remote != "" && (!ok || back != x.local) {
			t.Errorf("%+v: %s is %q here", x.m, x.remote, back)
		}
	}
	for _, m := range []mqttbridge.Map{{Filter: "a#"}, {Filter: "#/a"}, {Filter: "#", Remote: "x"}, {Filter: "+/a", Local: "x"}, {Filter: "a+"}} {
		if m.Check() == nil {
			t.Errorf("%+v is in order", m)
		}
	}
}

// Two filters overlap if and only if some topic matches both, and one covers the other only if all
// its topics match.
func TestFilters(t *testing.T) {
	level := rapid.SampledFrom([]string{"a", "b", "+", ""})
	filter := rapid.Custom(func(t *rapid.T) string {
		levels := rapid.SliceOfN(level, 1, 3).Draw(t, "levels")
		if rapid.Bool().Draw(t, "all below") {
			levels = append(levels, "#")
		}
		return strings.Join(levels, "/")
	})
	var topics []string
	for _, a := range []string{"a", "b", "c", ""} {
		topics = append(topics, a)
		for _, b := range []string{"a", "b", "c", ""} {
			topics = append(topics, a+"/"+b)
			for _, c := range []string{"a", "b", "c", ""} {
				topics = append(topics, a+"/"+b+"/"+c, a+"/"+b+"/"+c+"/a")
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := filter.Draw(t, "a"), filter.Draw(t, "b")
		both, all := false, true
		for _, topic := range topics {
			inA, inB := mqttclient.Matches(a, topic), mqttclient.Matches(b, topic)
			both = both || inA && inB
			all = all && (!inA || inB)
		}
		if got := mqttbridge.Overlap(a, b); got != both {
			t.Fatalf("%q and %q overlap: %v, want %v", a, b, got, both)
		}
		if got := mqttbridge.Covered(a, b); got && !all {
			t.Fatalf("%q is covered by %q although it is not", a, b)
		}
	})
}

func TestWhatHasBeenThere(t *testing.T) {
	via := [2]string{mqttbridge.Via, "demo/uplink/bridge"}
	if mqttbridge.Passed(nil, "demo/uplink/bridge") || mqttbridge.Passed([][2]string{{"x", "demo/uplink/bridge"}}, "demo/uplink/bridge") {
		t.Error("it was not there")
	}
	if !mqttbridge.Passed([][2]string{{"x", "y"}, via}, "demo/uplink/bridge") {
		t.Error("it was there")
	}
	many := [][2]string{via, via, via, via, via, via, via, via}
	if !mqttbridge.Passed(many, "other") || mqttbridge.Passed(many[:7], "other") {
		t.Error("a message may pass 8 bridges")
	}
}
