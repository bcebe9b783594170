package uplinktest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"gatewayd/actors/actorstest"
	"gatewayd/protocols/record"
)

// Each record has a number and a text, and either tells which record it is. So the far end can
// identify what has arrived without knowing about records.
const (
	numberField = "n"
	textField   = "u"
	perTrack    = 1_000_000 // numbers per track
)

var tracks = [...]string{"tracks/a", "tracks/b"}

// An Item is a field of a record at the far end.
type Item struct {
	Track string // name or end of the name of the track at the far end; empty: the far end does not know it
	Value any    // float64 or string
}

// Poison is the prefix of the text of a record that the far end must refuse. Such a text has more
// than 30,000 bytes; no other record has more than 20,000.
const Poison = "poison"

// account compares what was recorded with what is at the far end.
type account struct {
	t        *testing.T
	r        *actorstest.Rig
	far      *Far
	recorded [len(tracks)]uint64 // number of records of each track
	refused  map[uint64]bool     // sequences of the first track
	alone    bool                // only the first track is recorded
}

// write records n more records of each track.
func (a *account) write(n uint64) {
	a.t.Helper()
	for i, name := range tracks {
		if a.alone && i > 0 {
			break
		}
		first := a.recorded[i] + 1
		a.recorded[i] += n
		Keep(a.t, a.r, record.Chunk{Track: name, Number: uint32(i + 1), First: first, Count: n, Boot: "b"}, func(s uint64) []record.Field {
			text := fmt.Sprint(i, "-", s)
			if i == 0 && a.refused[s] {
				text = Poison + strings.Repeat("x", 30_000)
			}
			return []record.Field{{Name: numberField, ID: 1, Value: float64(uint64(i)*perTrack + s)}, {Name: textField, ID: 2, Value: text}}
		})
	}
}

// series is the numbers or the texts of one track.
type series struct {
	last uint64 // sequence of the newest
}

// balance reads everything the far end has. complete says whether nothing is missing, fresh how
// many items are no duplicates. An error ends the test.
func (a *account) balance() (complete bool, fresh int) {
	a.t.Helper()
	all := map[string]*series{}
	for i := range tracks {
		for _, f := range []string{numberField, textField} {
			all[fmt.Sprint(i, f)] = &series{}
		}
	}
	twice := 0
	for _, x := range a.far.Got() {
		track, field, n, ok := identify(x)
		if !ok || n > a.recorded[track] {
			a.t.Fatalf("%.80v is nothing that was recorded", x)
		}
		s := all[fmt.Sprint(track, field)]
		for track == 0 && a.refused[s.last+1] && n != s.last+1 {
			s.last++
		}
		switch {
		case n == s.last+1:
			s.last++
			fresh++
		case n <= s.last:
			twice++
		default:
			a.t.Fatalf("%s %s: %d follows %d", tracks[track], field, n, s.last)
		}
	}
	if a.far.Once && twice > 0 {
		a.t.Fatalf("%d came twice to one that has each once", twice)
	}
	complete = true
	for i := range tracks {
		for _, f := range []string{numberField, textField} {
			s := all[fmt.Sprint(i, f)]
			for i == 0 && a.refused[s.last+1] {
				s.last++
			}
			complete = complete && s.last == a.recorded[i]
		}
	}
	return complete, fresh
}

// identify returns the record and the field of an item.
func identify(x Item) (track int, field string, n uint64, ok bool) {
	switch v := x.Value.(type) {
	case float64:
		track, n, field = int(v)/perTrack, uint64(v)%perTrack, numberField
		ok = v > 0 && v == float64(uint64(v))
	case string:
		first, second, _ := strings.Cut(v, "-")
		var err, wrong error
		track, err = strconv.Atoi(first)
		n, wrong = strconv.ParseUint(second, 10, 64)
		field, ok = textField, err == nil && wrong == nil
	}
	return track, field, n, ok && n > 0 && track < len(tracks) && strings.HasSuffix(tracks[track], x.Track)
}

// settled waits until everything is at the far end and the uplink has noticed.
func (a *account) settled() {
	a.t.Helper()
	defer func() {
		if a.t.Failed() {
			a.t.Logf("%v recorded, the uplink says %v", a.recorded, Status(a.t, a.r, path))
		}
	}()
	a.r.Until("all is there", func() bool { complete, _ := a.balance(); return complete })
	a.r.Until("the uplink knows", func() bool { s := Status(a.t, a.r, path); return s.Begun && s.Backlog.Records == 0 })
	a.balance()
	rejected := uint64(0)
	for s := range a.refused {
		if s <= a.recorded[0] {
			rejected++
		}
	}
	if s := Status(a.t, a.r, path); s.Counts.Lost+s.Counts.LeftOut != 0 || s.Counts.Rejected != rejected {
		a.t.Errorf("%v", s.Counts)
	}
}
