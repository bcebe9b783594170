package mqtt

import "testing"

func TestCovers(t *testing.T) {
	tests := map[string]struct {
		filter, topic string
		want          bool
	}{
		"same":                  {"a/b", "a/b", true},
		"other":                 {"a/b", "a/c", false},
		"shorter":               {"a/b", "a", false},
		"longer":                {"a", "a/b", false},
		"one level":             {"a/+/c", "a/b/c", true},
		"one level at the end":  {"a/+", "a/b", true},
		"an empty level":        {"a/+", "a/", true},
		"only one level":        {"a/+", "a/b/c", false},
		"one level needs one":   {"a/+", "a", false},
		"all below":             {"a/#", "a/b/c", true},
		"all below and itself":  {"a/#", "a", true},
		"all":                   {"#", "a/b", true},
		"all but the broker's":  {"#", "$SYS/a", false},
		"plus is not for those": {"+/a", "$SYS/a", false},
		"the broker's":          {"$SYS/#", "$SYS/a", true},
		"not all of another":    {"b/#", "a/b", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := covers(tt.filter, tt.topic); got != tt.want {
				t.Errorf("%q covers %q: %v", tt.filter, tt.topic, got)
			}
		})
	}
}

func TestKeptIsInOnePlace(t *testing.T) {
	s := start(t, Config{})
	base := s.Stats().Retained
	for _, p := range []Properties{{}, {ContentType: "a/b"}, {ResponseTopic: "r"}, {}} {
		if err := s.Publish("state/a", []byte("x"), true, p); err != nil {
			t.Fatal(err)
		}
		if n := s.Stats().Retained - base; n != 1 {
			t.Errorf("%+v: %d are kept", p, n)
		}
	}
	if err := s.Publish("state/a", nil, true, Properties{}); err != nil {
		t.Fatal(err)
	}
	if n := s.Stats().Retained - base; n != 0 {
		t.Errorf("%d are kept after an empty payload", n)
	}
}
