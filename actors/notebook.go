package actors

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"

	"gatewayd/bus"
)

// noter is a bus that keeps notes. *bus.Conn is one.
type noter interface {
	Note(ctx context.Context, key string, value []byte) error
	Noted(ctx context.Context, key string) ([]byte, error)
}

// Notebook is what an actor writes down for its lives to come, also those after a restart of the gateway or a power cut: counts, not data.
// Its methods block: they are for workers.
type Notebook struct{ l *life }

// Notebook is the actor's notebook.
func (c *Context) Notebook() Notebook { return Notebook{c.l} }

func (n Notebook) open() (noter, error) {
	if err := (Gate(n)).open(); err != nil {
		return nil, err
	}
	if b, ok := n.l.cell.sys.Bus.(noter); ok {
		return b, nil
	}
	return nil, bus.Errorf(bus.Unimplemented, "this bus keeps no notes")
}

// Write puts m in the place of what stood under that leaf. When it returns, m is on disk.
func (n Notebook) Write(ctx context.Context, leaf string, m proto.Message) error {
	b, err := n.open()
	if err != nil {
		return err
	}
	value, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	return b.Note(ctx, n.l.cell.path+"."+leaf, value)
}

// Read reads into m what was last written under that leaf, and says whether there was anything.
func (n Notebook) Read(ctx context.Context, leaf string, m proto.Message) (bool, error) {
	b, err := n.open()
	if err != nil {
		return false, err
	}
	value, err := b.Noted(ctx, n.l.cell.path+"."+leaf)
	var typed *bus.Error
	if errors.As(err, &typed) && typed.Code == bus.NotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, proto.Unmarshal(value, m)
}
