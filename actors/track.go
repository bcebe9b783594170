package actors

import (
	"context"

	"gatewayd/bus"
)

// Tracks are stored streams of records, see bus/DESIGN.md.
//
// A writer calls Keep with one message after another and gets the outcome of each as Kept. If a
// message was not stored, the writer keeps it and gives the same bytes to Keep again.
//
// A reader opens its position with Archive().Reader in a worker of Do, waits with Next, sends the
// messages, and calls Ack when the far end has them. After any error it continues with Next, which
// starts again with the first message that is not acknowledged. The position has the name of the
// actor and survives restarts and power cuts; it is deleted when the actor is removed from the
// config.
//
// The content of the messages is that of protocols/record.

type (
	// Stored is one message of a track as a reader gets it.
	Stored = bus.Stored

	// TrackState is how much of one track is in the store.
	TrackState = bus.TrackState

	// TrackBacklog is how much of one track a reader has not acknowledged.
	TrackBacklog = bus.TrackBacklog

	// Priority says which tracks are dropped first.
	Priority = bus.Priority

	// Kept is the outcome of a Keep.
	Kept struct {
		Tag any    // as given to Keep
		Seq uint64 // sequence in the stream of all tracks
		Err error  // nil: it is on disk
	}
)

// Priorities. If there is no room, tracks of low priority are dropped first.
const (
	Low    = bus.Low
	Normal = bus.Normal
	High   = bus.High
)

// archive is what tracks need of the bus beyond Bus. *bus.Conn has it.
type archive interface {
	Keep(subject, typ string, payload []byte, p bus.Priority, done func(seq uint64, err error))
	Reader(ctx context.Context, cfg bus.ReaderConfig) (*bus.Reader, error)
	Track(ctx context.Context, subject string) (bus.TrackState, error)
	Stored(ctx context.Context, subject string, from uint64, each func(bus.Stored) error) error
}

var errNoArchive = bus.Errorf(bus.Unimplemented, "this bus stores no tracks")

// Keep stores payload on the track subject <name>.<leaf>. The outcome arrives as Kept, after some
// milliseconds, or seconds if the disk is slow. The next message of the same leaf waits for it.
func (c *Context) Keep(leaf, contentType string, payload []byte, p Priority, tag any) {
	l := c.l
	if l.over() {
		return
	}
	done := func(seq uint64, err error) { l.cell.post(&later{life: l, msg: Kept{tag, seq, err}}) }
	if a, ok := l.cell.sys.Bus.(archive); ok {
		a.Keep(l.cell.subject(bus.Track, leaf), contentType, payload, p, done)
		return
	}
	done(0, errNoArchive)
}

// Archive reads tracks. Its methods block and are for workers of the life that made it.
type Archive struct{ l *life }

// Archive returns the Archive for workers of this life.
func (c *Context) Archive() Archive { return Archive{c.l} }

func (a Archive) open() (archive, error) {
	if err := (Gate(a)).open(); err != nil {
		return nil, err
	}
	if b, ok := a.l.cell.sys.Bus.(archive); ok {
		return b, nil
	}
	return nil, errNoArchive
}

// Track returns the state of the actor's own track subject <name>.<leaf>.
func (a Archive) Track(ctx context.Context, leaf string) (TrackState, error) {
	b, err := a.open()
	if err != nil {
		return TrackState{}, err
	}
	return b.Track(ctx, a.l.cell.subject(bus.Track, leaf))
}

// Stored calls each with the messages of the actor's own track subject, starting at a sequence of
// the stream, until each returns an error or there are no more.
func (a Archive) Stored(ctx context.Context, leaf string, from uint64, each func(Stored) error) error {
	b, err := a.open()
	if err != nil {
		return err
	}
	return b.Stored(ctx, a.l.cell.subject(bus.Track, leaf), from, each)
}

// Reader opens the actor's reading position in the tracks. It is created the first time: before the
// oldest record or, with fromNow, after the newest. tracks are paths of actors or MQTT-style
// filters of paths; empty: all. They may differ from those of an earlier life; the position
// remains. It is for kinds with Place.
func (a Archive) Reader(ctx context.Context, tracks []string, fromNow bool) (*Reader, error) {
	if !a.l.cell.kind.Place {
		return nil, bus.Errorf(bus.Unimplemented, "kind %s cannot read tracks", a.l.cell.kind.Name)
	}
	b, err := a.open()
	if err != nil {
		return nil, err
	}
	r, err := b.Reader(ctx, bus.ReaderConfig{Name: a.l.cell.path, Tracks: tracks, New: fromNow})
	if err != nil {
		return nil, err
	}
	return &Reader{Reader: r, l: a.l}, nil
}

// Reader is the reading position of an actor, for one life of it; see bus.Reader.
type Reader struct {
	*bus.Reader
	l *life
}

// Ack acknowledges the message with that Stored.Seq and all that were delivered before it.
func (r *Reader) Ack(seq uint64) error {
	if err := (Gate{r.l}).open(); err != nil {
		return err
	}
	return r.Reader.Ack(seq)
}

// Next waits until there are messages and returns up to most of them, oldest first.
func (r *Reader) Next(ctx context.Context, most int) ([]Stored, error) {
	if err := (Gate{r.l}).open(); err != nil {
		return nil, err
	}
	return r.Reader.Next(ctx, most)
}

// CheckTracks returns an error if filters are not valid for Archive.Reader.
func CheckTracks(filters []string) error { return bus.CheckTracks(filters) }
