package lab

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// follower reads a growing file that need not exist yet.
type follower struct {
	path   string
	watch  *fsnotify.Watcher
	unread []byte // printed after the last text found
	offset int64
	end    chan struct{}
	once   sync.Once
}

func follow(folder, name string) (*follower, error) {
	watch, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	if err := watch.Add(folder); err != nil {
		watch.Close()
		return nil, err
	}
	return &follower{path: filepath.Join(folder, name), watch: watch, end: make(chan struct{})}, nil
}

func (f *follower) await(ctx context.Context, text string) error {
	for {
		if err := f.read(); err != nil {
			return err
		}
		if i := bytes.Index(f.unread, []byte(text)); i >= 0 {
			f.unread = f.unread[i+len(text):]
			return nil
		}
		select {
		case <-f.watch.Events:
		case <-f.watch.Errors: // an overflow of events; the next read sees the file anyway
		case <-f.end:
			if err := f.read(); err != nil {
				return err
			}
			if !bytes.Contains(f.unread, []byte(text)) {
				return errors.New("the machine has ended")
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *follower) read() error {
	file, err := os.Open(f.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	more, err := io.ReadAll(io.NewSectionReader(file, f.offset, 1<<30))
	f.offset += int64(len(more))
	f.unread = append(f.unread, more...)
	return err
}

// stop makes a waiting await give up after one more read.
func (f *follower) stop() { f.once.Do(func() { close(f.end) }) }
