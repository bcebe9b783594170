package record_test

import (
	"slices"
	"testing"

	"gatewayd/protocols/record"
)

// A track whose end was lost continues with a number that no record can have had: how many were
// lost is unknown.
func TestGapsInDoubt(t *testing.T) {
	const first, last = 18002, 40000
	const jump, leap = first * record.MaxChunk, last * record.MaxChunk
	doubts := []uint64{first, last}
	missing := func(from, to uint64) record.Gap { return record.Gap{From: from, To: to, Why: record.Missing} }
	unclear := func(from, to uint64) record.Gap { return record.Gap{From: from, To: to, Why: record.Unclear} }
	damage := record.Gap{From: 3, To: 3, Why: record.Damaged}
	for name, c := range map[string]struct {
		gap     record.Gap
		doubts  []uint64
		want    []record.Gap
		records uint64
	}{
		"of records":                         {missing(5, 9), doubts, []record.Gap{missing(5, 9)}, 5},
		"up to where it goes on":             {missing(2477, leap), doubts[1:], []record.Gap{unclear(2477, leap)}, 1},
		"up to where it went on before":      {missing(2477, jump), doubts, []record.Gap{unclear(2477, jump)}, 1},
		"and some that were dropped since":   {missing(2477, jump+7), doubts, []record.Gap{unclear(2477, jump), missing(jump+1, jump+7)}, 8},
		"two losses, and nothing in between": {missing(2477, leap), doubts, []record.Gap{unclear(2477, jump), unclear(jump+1, leap)}, 2},
		"nothing is in doubt":                {missing(1, record.MaxChunk), nil, []record.Gap{missing(1, record.MaxChunk)}, record.MaxChunk},
		"damage":                             {damage, doubts, []record.Gap{damage}, 1},
	} {
		got, records := c.gap.Judge(c.doubts), uint64(0)
		for _, g := range got {
			records += g.Records()
		}
		if !slices.Equal(got, c.want) || records != c.records {
			t.Errorf("%s: %v, %d records", name, got, records)
		}
	}
}
