package uplinktest

import (
	"fmt"
	"testing"
	"time"

	"gatewayd/actors/actorstest"
	"gatewayd/bus"
	"gatewayd/protocols/record"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// Keep stores a chunk of records, as a track does, and returns once it is on disk. c has their
// track, sequences and boot. The records are a second and a nanosecond apart, starting at 1.8e9 s
// since 1970 if the first sequence is 1. fields returns the fields of each.
func Keep(t *testing.T, r *actorstest.Rig, c record.Chunk, fields func(sequence uint64) []record.Field) {
	t.Helper()
	for s := c.First; s < c.First+c.Count; s++ {
		c.Records = append(c.Records, record.Record{
			Track: c.Track, Number: c.Number, Sequence: s, Boot: c.Boot, Time: time.Unix(1_799_999_999+int64(s), int64(s)), Trusted: true, Uptime: time.Duration(s) * time.Second,
			Fields: fields(s),
		})
	}
	p, err := record.Encode(&c)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	r.Bus.Keep(bus.Subject(actorstest.Gateway, bus.Track, c.Track, "records"), record.ChunkType, p, bus.Normal, func(_ uint64, err error) { done <- err })
	if err := actorstest.Next(t, done); err != nil {
		t.Fatal(err)
	}
}

// Recorder records tracks with two fields that identify the record: power, a number, and user, a
// text. All tracks have the same number.
type Recorder struct {
	t        *testing.T
	r        *actorstest.Rig
	recorded map[string]uint64
}

// NewRecorder returns a Recorder that writes to the store of a rig.
func NewRecorder(t *testing.T, r *actorstest.Rig) *Recorder {
	return &Recorder{t, r, map[string]uint64{}}
}

// Write stores chunks of one track, one after another. chunks are their numbers of records.
func (w *Recorder) Write(track string, chunks ...uint64) {
	w.t.Helper()
	for _, n := range chunks {
		Keep(w.t, w.r, record.Chunk{Track: track, Number: 1, First: w.recorded[track] + 1, Count: n, Boot: "boot"}, func(s uint64) []record.Field {
			return []record.Field{{Name: "power", ID: 1, Unit: "kW", Value: float64(s)}, {Name: "user", ID: 2, Value: fmt.Sprint("u", s)}}
		})
		w.recorded[track] += n
	}
}

// Recorded returns the number of records of each track.
func (w *Recorder) Recorded() map[string]uint64 { return w.recorded }

// Status calls the Status method of an uplink.
func Status(t *testing.T, r *actorstest.Rig, path string) *uplinkv1.Status {
	t.Helper()
	m, err := actorstest.Call(r, path, "Status", &uplinkv1.StatusRequest{}, &uplinkv1.StatusResponse{})
	if err != nil {
		t.Fatal(err)
	}
	return m.Status
}

// UpTo returns the sequences from 1 to n.
func UpTo(n uint64) (all []uint64) {
	for s := range n {
		all = append(all, s+1)
	}
	return all
}
