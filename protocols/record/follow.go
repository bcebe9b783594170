package record

import (
	"fmt"
	"slices"
	"time"
)

// A Gap is a range of missing records of a track, both ends included.
type Gap struct {
	Track    string
	From, To uint64
	Why      string
}

func (g Gap) String() string {
	return fmt.Sprintf("%s: records %d to %d: %s", g.Track, g.From, g.To, g.Why)
}

// Why a record is missing.
const (
	Missing = "missing"           // it was dropped to make room, or its chunk could not be read any more
	Damaged = "checksum is wrong" // its content has changed on disk
	Unclear = "part of the store was lost, including the end of the track: some of these numbers may never have been used"
)

// Judge splits a gap of missing records. If the end of a track was lost together with all
// information on how far it was, the track continues with a number far above; the skipped numbers
// are not all records. Judge separates them from the records that did exist. marks are the
// sequences of the store up to which messages were lost, oldest first.
func (g Gap) Judge(marks []uint64) []Gap {
	if g.Why != Missing {
		return []Gap{g}
	}
	var all []Gap
	for _, d := range marks {
		if to := d * MaxChunk; g.From <= to && to <= g.To {
			all = append(all, Gap{g.Track, g.From, to, Unclear})
			g.From = to + 1
		}
	}
	if g.From <= g.To {
		all = append(all, g)
	}
	return all
}

// Records returns how many records are missing, at least.
func (g Gap) Records() uint64 {
	if g.Why == Unclear {
		return 1
	}
	return g.To - g.From + 1
}

// Follow reads the chunks of tracks in order. It finds missing records, skips repeated ones, and
// corrects the times of records taken before the clock was right, if the correction is known. The
// zero value is ready for use.
type Follow struct {
	next  map[string]uint64 // by track; 0: start anywhere
	boots map[string]time.Time
}

// Chunk decodes a chunk of a track and returns the records not seen before, and what is missing
// before and within it.
func (f *Follow) Chunk(track string, p []byte) ([]Record, []Gap, error) {
	c, err := Decode(track, p)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", track, err)
	}
	f.learn(&c)
	if f.next == nil {
		f.next = map[string]uint64{}
	}
	var gaps []Gap
	next := f.next[track]
	if next != 0 && c.First > next {
		gaps = append(gaps, Gap{track, next, c.First - 1, Missing})
	}
	for _, s := range c.Damaged {
		if s < next {
			continue
		}
		if last := len(gaps) - 1; last >= 0 && gaps[last].Why == Damaged && gaps[last].To+1 == s {
			gaps[last].To = s
			continue
		}
		gaps = append(gaps, Gap{track, s, s, Damaged})
	}
	fresh := slices.IndexFunc(c.Records, func(r Record) bool { return r.Sequence >= next })
	f.next[track] = max(next, c.Next())
	if fresh < 0 {
		return nil, gaps, nil
	}
	records := c.Records[fresh:]
	for i := range records {
		f.Correct(&records[i])
	}
	return records, gaps, nil
}

// Learn takes the clock corrections from a chunk. A reader that starts with the newest chunk of
// each track can then correct the oldest.
func (f *Follow) Learn(p []byte) error {
	c, err := Decode("", p)
	if err == nil {
		f.learn(&c)
	}
	return err
}

// Again forgets the position, for a reader that starts again.
func (f *Follow) Again() { f.next = nil }

func (f *Follow) learn(c *Chunk) {
	for _, a := range c.Anchors {
		f.anchor(a.Boot, a.Start)
	}
	for i := len(c.Records) - 1; i >= 0; i-- {
		if r := &c.Records[i]; r.Trusted {
			f.anchor(r.Boot, r.Time.Add(-r.Uptime))
			return
		}
	}
}

// anchor notes when a boot began, unless that is known already.
func (f *Follow) anchor(boot string, start time.Time) {
	if f.boots == nil {
		f.boots = map[string]time.Time{}
	}
	if _, known := f.boots[boot]; !known {
		f.boots[boot] = start
	}
}

// Correct corrects a record that was read before the start of its boot was known, if it is known
// now.
func (f *Follow) Correct(r *Record) {
	if r.Trusted {
		return
	}
	if start, known := f.boots[r.Boot]; known {
		r.Time, r.Trusted = start.Add(r.Uptime), true
	}
}

// Backlog is the amount of records between the oldest and the newest chunk of a track, both
// included.
type Backlog struct {
	Records uint64
	Bytes   uint64
	Oldest  time.Time // time of the first record; zero if the oldest chunk has none
}

// Measure returns the backlog between two chunks of a track.
func Measure(oldest, newest []byte) (Backlog, error) {
	a, err := Decode("", oldest)
	if err != nil {
		return Backlog{}, err
	}
	b, err := DecodeHead(newest)
	if err != nil {
		return Backlog{}, err
	}
	if b.Next() < a.First || b.Before < a.Before {
		return Backlog{}, fmt.Errorf("%w: the newest chunk is older than the oldest", ErrChunk)
	}
	m := Backlog{Records: b.Next() - a.First, Bytes: b.Before - a.Before + uint64(len(newest))}
	if len(a.Records) > 0 {
		m.Oldest = a.Records[0].Time
	}
	return m, nil
}
