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

// Keep puts the records of a chunk on the disk, as a track does, and returns once they are there. The chunk says of which track they are, their
// sequences and their boot; they are a second and a nanosecond apart, the first at 1.8e9, and fields says what each holds.
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

// Recorder records tracks of two fields, which tell what record they are of: power, a number, and user, a text. All tracks have the same number.
type Recorder struct {
	t        *testing.T
	r        *actorstest.Rig
	recorded map[string]uint64
}

// NewRecorder records in the store of a rig.
func NewRecorder(t *testing.T, r *actorstest.Rig) *Recorder {
	return &Recorder{t, r, map[string]uint64{}}
}

// Write stores chunks of so many records each of one track, one after another.
func (w *Recorder) Write(track string, chunks ...uint64) {
	w.t.Helper()
	for _, n := range chunks {
		Keep(w.t, w.r, record.Chunk{Track: track, Number: 1, First: w.recorded[track] + 1, Count: n, Boot: "boot"}, func(s uint64) []record.Field {
			return []record.Field{{Name: "power", ID: 1, Unit: "kW", Value: float64(s)}, {Name: "user", ID: 2, Value: fmt.Sprint("u", s)}}
		})
		w.recorded[track] += n
	}
}

// Recorded is how many records there are of each track.
func (w *Recorder) Recorded() map[string]uint64 { return w.recorded }

// Status is what an uplink says of itself.
func Status(t *testing.T, r *actorstest.Rig, path string) *uplinkv1.Status {
	t.Helper()
	m, err := actorstest.Call(r, path, "Status", &uplinkv1.StatusRequest{}, &uplinkv1.StatusResponse{})
	if err != nil {
		t.Fatal(err)
	}
	return m.Status
}

// UpTo are the sequences from 1 to n.
func UpTo(n uint64) (all []uint64) {
	for s := range n {
		all = append(all, s+1)
	}
	return all
}
