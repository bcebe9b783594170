package actors

import (
	"context"

	"google.golang.org/protobuf/proto"
)

// Notebook writes and reads the notes of an actor, see Context.Note. It is for workers that must
// know that something is on disk before they continue. A note written by a Notebook must be read by
// one, not by Recall. The methods block, but not beyond the end of ctx.
type Notebook struct{ l *life }

// Notebook returns the Notebook for workers of this life.
func (c *Context) Notebook() Notebook { return Notebook{c.l} }

// Write replaces the note leaf with m. When it returns nil, m is on disk.
func (b Notebook) Write(ctx context.Context, leaf string, m proto.Message) error {
	n, m := b.l.cell.note(leaf), proto.Clone(m)
	return b.await(ctx, n, func() error { return n.save(m) })
}

// Read reads the note leaf into m. found is false if there is none.
func (b Notebook) Read(ctx context.Context, leaf string, m proto.Message) (found bool, err error) {
	n, stands := b.l.cell.note(leaf), m.ProtoReflect().New().Interface()
	var there bool
	if err = b.await(ctx, n, func() (err error) {
		there, err = n.load(stands)
		return err
	}); err != nil {
		return false, err
	}
	proto.Reset(m)
	proto.Merge(m, stands)
	return there, nil
}

func (b Notebook) await(ctx context.Context, n *note, fn func() error) error {
	if err := (Gate(b)).open(); err != nil {
		return err
	}
	done := make(chan error, 1)
	n.work(func() {
		select { // a write that hangs must not reach the disk after a newer one
		case n.desk <- struct{}{}:
			defer func() { <-n.desk }()
		case <-ctx.Done():
			return
		}
		if ctx.Err() == nil {
			done <- unbroken(fn)
		}
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
