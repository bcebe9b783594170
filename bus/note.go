package bus

import "context"

// notes is the bucket of what actors write down for their lives to come.
const notes = "notes"

// Note writes a value under a key like "uplinks/cloud.spent". When it returns, the value is on disk.
func (c *Conn) Note(ctx context.Context, key string, value []byte) error {
	k, err := c.notes(ctx)
	if err != nil {
		return err
	}
	_, err = k.Put(ctx, key, value)
	return err
}

// Noted is the value under a key; a *Error with NotFound when there is none.
func (c *Conn) Noted(ctx context.Context, key string) ([]byte, error) {
	k, err := c.notes(ctx)
	if err != nil {
		return nil, err
	}
	e, err := k.Get(ctx, key)
	return e.Value, err
}

func (c *Conn) notes(ctx context.Context) (*KV, error) {
	if c.commit == nil {
		return nil, Errorf(FailedPrecondition, "only the gateway itself keeps notes")
	}
	return c.commit.bus.KV(ctx, notes, 1)
}
