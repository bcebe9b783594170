package actors_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/protocols/durable"
)

// noter is an actor that recalls a number, notes the numbers it is sent, and reports the outcomes.
type noter struct {
	recalled []actors.Recalled
	noted    []error
}

func (n *noter) kind(t *testing.T) actors.Kind {
	return scripted(func(c *actors.Context, msg any) error {
		switch m := msg.(type) {
		case actors.Started:
			c.Recall("count", &wrapperspb.Int64Value{})
		case actors.Recalled:
			if m.Leaf != "count" {
				t.Errorf("recalled %q", m.Leaf)
			}
			n.recalled = append(n.recalled, m)
		case actors.Noted:
			if m.Leaf != "count" {
				t.Errorf("noted %q", m.Leaf)
			}
			n.noted = append(n.noted, m.Err)
		case int64:
			c.Note("count", wrapperspb.Int64(m))
			c.Reply(nil)
		case error:
			return m
		}
		return nil
	})
}

// last is the number recalled last.
func (n *noter) last() (value int64, told actors.Recalled) {
	order()
	told = n.recalled[len(n.recalled)-1]
	if told.Message != nil {
		value = told.Message.(*wrapperspb.Int64Value).Value
	}
	return value, told
}

func noting(t *testing.T, test func(r rig, n *noter)) {
	virtual(t, func(t *testing.T, r rig) {
		r.System.Dir = t.TempDir()
		test(r, &noter{})
	})
}

func (r rig) begin(n *noter) *actors.Cell {
	cell := r.Start(path, n.kind(r.t), &structpb.Struct{})
	pass(0)
	return cell
}

// stands returns the number on disk; -1: none.
func (r rig) stands() int64 {
	var m wrapperspb.Int64Value
	if !r.Noted(path, "count", &m) {
		return -1
	}
	return m.Value
}

func TestNote(t *testing.T) {
	noting(t, func(r rig, n *noter) {
		cell := r.begin(n)
		if v, m := n.last(); v != 0 || m.Found || m.Err != nil || m.Again {
			t.Errorf("recalled %+v", m)
		}
		for v := range int64(100) {
			r.ask(v)
		}
		if order(); r.stands() != 99 || len(n.noted) == 0 || slices.ContainsFunc(n.noted, func(err error) bool { return err != nil }) {
			t.Errorf("%d stands there, noted %v", r.stands(), n.noted)
		}
		r.Stop(cell)
		r.Spawn(cell)
		pass(0)
		if v, m := n.last(); v != 99 || !m.Found || m.Err != nil || m.Again {
			t.Errorf("recalled %+v", m)
		}
	})
}

// A failed write is reported, and retried until it succeeds.
func TestNoteThatFails(t *testing.T) {
	noting(t, func(r rig, n *noter) {
		r.begin(n)
		back := r.LoseDisk()
		r.ask(int64(1))
		r.ask(int64(2))
		if order(); len(n.noted) != 2 || n.noted[0] == nil || n.noted[1] == nil {
			t.Fatalf("noted %v", n.noted)
		}
		pass(6 * time.Second)
		if order(); len(n.noted) != 3 || n.noted[2] == nil {
			t.Fatalf("noted %v", n.noted)
		}
		back()
		pass(6 * time.Second)
		if order(); len(n.noted) != 4 || n.noted[3] != nil || r.stands() != 2 {
			t.Fatalf("noted %v, %d stands there", n.noted, r.stands())
		}
		pass(time.Minute)
		if order(); len(n.noted) != 4 {
			t.Errorf("noted %v", n.noted)
		}
	})
}

// The next life gets what this one could not write, and writes it.
func TestNoteOfALifeThatEnds(t *testing.T) {
	noting(t, func(r rig, n *noter) {
		r.begin(n)
		r.ask(int64(1))
		back := r.LoseDisk()
		r.ask(int64(2))
		r.ask(errors.New("it fails"))
		r.fault()
		pass(time.Second)
		if v, m := n.last(); v != 2 || !m.Found || m.Err != nil || len(n.recalled) != 2 {
			t.Fatalf("recalled %+v", n.recalled)
		}
		back()
		pass(6 * time.Second)
		if order(); r.stands() != 2 || n.noted[len(n.noted)-1] != nil {
			t.Errorf("%d stands there, noted %v", r.stands(), n.noted)
		}
	})
}

// An actor that is removed from the config and comes back finds its notes, on disk or not yet. One
// of another kind finds none of them.
func TestNoteOfAnActorThatGoesAndComes(t *testing.T) {
	noting(t, func(r rig, n *noter) {
		cell := r.begin(n)
		back := r.LoseDisk()
		r.ask(int64(1))
		r.Stop(cell)
		cell.Remove()
		pass(time.Second)
		cell = r.begin(n)
		if v, m := n.last(); v != 1 || !m.Found || m.Err != nil {
			t.Errorf("recalled %+v", m)
		}
		r.ask(int64(2))
		r.Stop(cell)
		cell.Remove()
		back()
		pass(6 * time.Second) // nobody is there to retry
		if order(); r.stands() != 2 {
			t.Errorf("%d stands there", r.stands())
		}
		r.LoseDisk()
		cell = r.begin(n)
		r.ask(int64(3))
		r.Stop(cell)
		cell.Remove()
		told := make(chan actors.Recalled, 1)
		r.start(func(c *actors.Context, msg any) error {
			switch m := msg.(type) {
			case actors.Started:
				c.Recall("count", &wrapperspb.StringValue{})
			case actors.Recalled:
				told <- m
			}
			return nil
		})
		if m := <-told; m.Found || m.Err == nil {
			t.Errorf("recalled %+v", m)
		}
	})
}

// A panic while writing is reported and retried, and ends nothing.
func TestNoteThatPanics(t *testing.T) {
	noting(t, func(r rig, n *noter) {
		r.begin(n)
		mend := r.System.BreakDisk()
		r.ask(int64(1))
		if order(); len(n.noted) != 1 || n.noted[0] == nil {
			t.Fatalf("noted %v", n.noted)
		}
		mend()
		pass(6 * time.Second)
		if order(); n.noted[len(n.noted)-1] != nil || r.stands() != 1 {
			t.Errorf("noted %v, %d stands there", n.noted, r.stands())
		}
	})
}

func TestRecallThatFails(t *testing.T) {
	noting(t, func(r rig, n *noter) {
		r.Note(path, "count", wrapperspb.Int64(7))
		back := r.LoseDisk()
		r.begin(n)
		if _, m := n.last(); m.Err == nil || !m.Again || m.Message != nil {
			t.Fatalf("recalled %+v", m)
		}
		back()
		pass(6 * time.Second)
		if v, m := n.last(); v != 7 || !m.Found || m.Err != nil || m.Again || len(n.recalled) != 2 {
			t.Fatalf("recalled %+v", n.recalled)
		}
	})
}

// A damaged note is set aside. Its content is lost, and later notes are not affected.
func TestNoteThatIsDamaged(t *testing.T) {
	noting(t, func(r rig, n *noter) {
		r.Note(path, "count", wrapperspb.Int64(7))
		file := filepath.Join(r.System.Dir, path, "count.json")
		if err := os.Truncate(file, 30); err != nil {
			t.Fatal(err)
		}
		r.begin(n)
		if v, m := n.last(); v != 0 || m.Found || m.Again || !errors.Is(m.Err, durable.ErrDamaged) || !strings.Contains(m.Err.Error(), file+".damaged") {
			t.Errorf("recalled %+v", m)
		}
		if r.ask(int64(8)); r.stands() != 8 {
			t.Errorf("%d stands there", r.stands())
		}
	})
}

// A life that begins while the disk blocks a write of an earlier one is told so, however late it
// begins, and its own notes reach the disk.
func TestNoteThatHangsFromLifeToLife(t *testing.T) {
	noting(t, func(r rig, n *noter) {
		cell := r.begin(n)
		release := r.System.HangDisk(true)
		r.ask(int64(1))
		r.Stop(cell)
		pass(time.Minute)
		r.Spawn(cell)
		pass(0)
		if v, m := n.last(); v != 1 || !m.Found || m.Err != nil {
			t.Errorf("recalled %+v", m)
		}
		r.ask(int64(2))
		pass(11 * time.Second)
		if order(); len(n.noted) < 2 || slices.Contains(n.noted, nil) {
			t.Errorf("noted %v", n.noted)
		}
		release()
		pass(0)
		if order(); n.noted[len(n.noted)-1] != nil || r.stands() != 2 {
			t.Errorf("noted %v, %d stands there", n.noted, r.stands())
		}
	})
}

// A write that a worker has given up does not reach the disk after a later one.
func TestNotebookOfADiskThatHangs(t *testing.T) {
	noting(t, func(r rig, _ *noter) {
		books := make(chan actors.Notebook, 1)
		r.start(func(c *actors.Context, msg any) error {
			if _, ok := msg.(actors.Started); ok {
				books <- c.Notebook()
			}
			return nil
		})
		book := <-books
		release := r.System.HangDisk(false)
		write := func(v int64, d time.Duration) <-chan error {
			ctx, cancel := context.WithTimeout(context.Background(), d)
			done := make(chan error, 1)
			go func() {
				defer cancel()
				done <- book.Write(ctx, "count", wrapperspb.Int64(v))
			}()
			synctest.Wait()
			return done
		}
		if err := <-write(1, time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("written: %v", err)
		}
		for range 10 {
			<-write(9, time.Second)
		}
		pass(0)
		if n := r.System.Workers(); n != 1 {
			t.Errorf("%d workers wait for a disk that hangs", n)
		}
		second := write(2, time.Hour)
		release()
		err := <-second
		if pass(0); err != nil || r.stands() != 2 {
			t.Errorf("written: %v, %d stands there", err, r.stands())
		}
	})
}

// Without a data directory nothing is recalled, and nothing is retried.
func TestNoteWithoutADirectory(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		n := &noter{}
		r.begin(n)
		if _, m := n.last(); m.Found || m.Err != nil || m.Again {
			t.Errorf("recalled %+v", m)
		}
		r.ask(int64(1))
		pass(time.Minute)
		if order(); len(n.noted) != 1 || n.noted[0] == nil {
			t.Errorf("noted %v", n.noted)
		}
	})
}

// A disk that hangs is reported, and its late result counts. A pipe has no content until somebody
// writes to it.
func TestRecallFromADiskThatHangs(t *testing.T) {
	t.Parallel()
	r := actorstest.New(t)
	pipe := filepath.Join(r.System.Dir, path, "count.json")
	if err := errors.Join(os.MkdirAll(filepath.Dir(pipe), 0o700), unix.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	told := make(chan actors.Recalled, 8)
	r.Start(path, scripted(func(c *actors.Context, msg any) error {
		switch m := msg.(type) {
		case actors.Started:
			c.Recall("count", &wrapperspb.Int64Value{})
		case actors.Recalled:
			told <- m
		}
		return nil
	}), &structpb.Struct{})
	if m := actorstest.Next(t, told); !m.Again || m.Message != nil || !strings.Contains(m.Err.Error(), "after 5s") {
		t.Errorf("recalled %+v", m)
	}
	raw, err := durable.Seal(7)
	if err == nil {
		err = os.WriteFile(pipe, raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if m := actorstest.Next(t, told); !m.Found || m.Err != nil || m.Message.(*wrapperspb.Int64Value).Value != 7 {
		t.Errorf("recalled %+v", m)
	}
}
