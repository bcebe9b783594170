package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Canary proves that the bus works: a message makes a round trip through the server, every file
// stream still accepts writes, and a record is written, synced and read back. It takes at most 5 s
// and is meant to be called about every half minute. On an error call Restart.
func (b *Bus) Canary(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	if err := b.echo(ctx); err != nil {
		return fmt.Errorf("canary: publish and subscribe: %w", err)
	}
	if b.cfg.Dir == "" {
		return nil
	}
	if err := b.stores(ctx); err != nil {
		return err
	}
	if err := b.sweep(ctx); err != nil { // the next Canary tries again
		b.log.Debug("removed readers still hold positions in the tracks", "err", err)
	}
	b.mu.Lock()
	due := time.Since(b.written) > ledgerPause
	b.mu.Unlock()
	if due {
		if err := b.remember(); err != nil {
			return fmt.Errorf("canary: ledger: %w", err)
		}
	}
	return nil
}

// ErrDisk is wrapped by errors of Canary when the store fails and nothing can be written beside it
// either: the disk is full or read-only. A Restart cannot help until there is space.
var ErrDisk = errors.New("the disk cannot be written")

// stores proves that the store works.
func (b *Bus) stores(ctx context.Context) error {
	var err error
	if why := b.Report().Store; why != "" {
		err = fmt.Errorf("store: %s", why)
	} else if err = b.writable(ctx); err == nil {
		if err = b.writeAndRead(ctx); err != nil {
			err = fmt.Errorf("store: %w", err)
		}
	}
	switch {
	case err == nil:
		return nil
	case b.room() != nil:
		return fmt.Errorf("canary: %w: %w", ErrDisk, err)
	}
	return fmt.Errorf("canary: %w", err)
}

// room is the minimum free space in bytes that the store needs after a Restart.
const room = 64 << 10

// room writes that many bytes beside the store and removes them again.
func (b *Bus) room() error {
	f, err := os.CreateTemp(b.cfg.Dir, ".room-*")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, room))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

func (b *Bus) echo(ctx context.Context) error {
	box := b.conn.nc.NewInbox()
	sub, err := b.conn.nc.SubscribeSync(box)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := b.conn.nc.Publish(box, []byte("canary")); err != nil {
		return err
	}
	_, err = sub.NextMsgWithContext(ctx)
	return err
}

// writable asks every file stream to purge a subject it does not have. That is the cheapest request
// that a stream refuses after a failed write. Such a stream never recovers, and publishing to it
// just goes unanswered.
func (b *Bus) writable(ctx context.Context) error {
	for _, cfg := range b.kept() {
		if cfg.Storage != jetstream.FileStorage {
			continue
		}
		s, err := b.js.Stream(ctx, cfg.Name)
		if err == nil {
			err = s.Purge(ctx, jetstream.WithPurgeSubject(inboxGateway+".none"))
		}
		if err != nil {
			return fmt.Errorf("stream %s: %w", cfg.Name, err)
		}
	}
	return nil
}

func (b *Bus) writeAndRead(ctx context.Context) error {
	want := strconv.AppendInt(nil, time.Now().UnixNano(), 10)
	ack, err := b.js.Publish(ctx, canarySubject, want)
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	s, err := b.js.Stream(ctx, streamCanary)
	if err != nil {
		return err
	}
	m, err := s.GetMsg(ctx, ack.Sequence)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if !bytes.Equal(m.Data, want) {
		return fmt.Errorf("read back %q, not %q", m.Data, want)
	}
	return nil
}
