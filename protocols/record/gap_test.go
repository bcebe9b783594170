package record_test

import (
	"testing"

	"gatewayd/protocols/record"
)

// A track whose end was lost goes on with a number that no record can have had: how many were lost nobody knows.
func TestGapsInDoubt(t *testing.T) {
	const doubt = 18002
	for name, c := range map[string]struct {
		gap     record.Gap
		doubt   uint64
		why     string
		records uint64
	}{
		"of records":             {record.Gap{From: 5, To: 9, Why: record.Missing}, doubt, record.Missing, 5},
		"up to where it goes on": {record.Gap{From: 2477, To: doubt * record.MaxChunk, Why: record.Missing}, doubt, record.Unclear, 1},
		"nothing is in doubt":    {record.Gap{From: 1, To: record.MaxChunk, Why: record.Missing}, 0, record.Missing, record.MaxChunk},
		"damage":                 {record.Gap{From: 3, To: 3, Why: record.Damaged}, doubt, record.Damaged, 1},
	} {
		if g := c.gap.Judge(c.doubt); g.Why != c.why || g.Records() != c.records {
			t.Errorf("%s: %s, %d records", name, g.Why, g.Records())
		}
	}
}
