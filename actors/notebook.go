package actors

import (
	"context"

	"google.golang.org/protobuf/proto"
)

// Notebook are the actor's notes, see Context.Note, for workers of this life, who must know that something is on disk before they go on. What a
// worker writes is read by workers. Its methods block, at most until ctx ends.
type Notebook struct{ l *life }

// Notebook is the actor's notebook.
func (c *Context) Notebook() Notebook { return Notebook{c.l} }

// Write puts m in the place of what stood under that leaf. When it returns nil, m is on disk.
func (b Notebook) Write(ctx context.Context, leaf string, m proto.Message) error {
	n, m := b.l.cell.note(leaf), proto.Clone(m)
	return b.await(ctx, n, func() error { return n.save(m) })
}

// Read reads into m what was last written under that leaf, and says whether there was anything.
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
		n.desk <- struct{}{} // what hangs is not to come to the disk behind what is newer
		defer func() { <-n.desk }()
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
