package uplink

import "testing"

func TestCovers(t *testing.T) {
	for pattern, picks := range map[string][2]string{ // a matching topic and one that does not match
		"tracks/#":     {"tracks", "track/a"},
		"tracks/way/#": {"tracks/way/a/b", "tracks"},
		"tracks/+":     {"tracks/a", "tracks/a/b"},
		"tracks/a":     {"tracks/a", "tracks"},
		"+/a":          {"tracks/a", "a"},
	} {
		if !covers(pattern, picks[0]) || covers(pattern, picks[1]) {
			t.Errorf("%s picks %s: %v, %s: %v", pattern, picks[0], covers(pattern, picks[0]), picks[1], covers(pattern, picks[1]))
		}
	}
}
