package actors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"gatewayd/bus"
	"gatewayd/protocols/durable"
)

// A note is a message that an actor keeps on disk for its later lives, also across a restart of the
// gateway or a power cut, e.g. the budget spent or the users revoked. It is for state, not for
// data. Each note is a file in Dir, named after its leaf, with a checksum.

type (
	// Recalled is the outcome of Recall.
	Recalled struct {
		Leaf    string
		Message proto.Message // the message given to Recall, empty unless Found; nil if Again
		Found   bool
		Err     error // why the note could not be read
		Again   bool  // after an error: reading is retried, and another Recalled follows; false: the note is lost
	}

	// Noted is the outcome of Note. If several were made while one was being written, it is that of
	// the last. After an error the newest message is written again until it is on disk, and another
	// Noted follows each attempt.
	Noted struct {
		Leaf string
		Err  error // nil: it is on disk
	}
)

const (
	noteTime  = 5 * time.Second // time until a Noted or Recalled with an error says that the disk is slow
	noteAgain = 5 * time.Second // between attempts
)

// Recall reads the note leaf into m. The outcome arrives as Recalled.
func (c *Context) Recall(leaf string, m proto.Message) { c.l.cell.note(leaf).recall(c.l, m) }

// Note replaces the note leaf with m. The outcome arrives as Noted. If this life ends first, m is
// written nevertheless.
func (c *Context) Note(leaf string, m proto.Message) { c.l.cell.note(leaf).put(c.l, m) }

// note is one note of an actor. Only one goroutine at a time writes it, for whichever life. So no
// life reads or leaves behind anything older than what the life before it has noted, even if the
// actor was removed from the config in between.
type note struct {
	sys  *System
	dir  string // empty: there is no data directory
	leaf string

	mu     sync.Mutex
	life   *life         // the last one that called Note or Recall; it gets the outcome
	latest proto.Message // message to be written; nil: none
	number uint64        // number of Note calls
	busy   bool          // latest is being written
	began  time.Time     // when writing began
	timer  *time.Timer   // for the next attempt, or for the report that this one takes long

	desk chan struct{} // holds one token while a Notebook's read or write has its turn
}

func (c *Cell) note(leaf string) *note {
	s, key := c.sys, c.path+"/"+leaf
	s.noting.Lock()
	defer s.noting.Unlock()
	n := s.notes[key]
	if n == nil {
		n = &note{sys: s, dir: c.dir(), leaf: leaf, desk: make(chan struct{}, 1)}
		s.notes[key] = n
	}
	return n
}

func (n *note) put(l *life, m proto.Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.over() { // with the lock: the life after it may be about to note
		return
	}
	n.life, n.latest = l, proto.Clone(m)
	n.number++
	n.begin()
}

// begin starts writing the latest message unless that is under way. The caller holds the lock, as
// for all uses of timer and number below.
func (n *note) begin() {
	if n.busy || n.latest == nil {
		return
	}
	n.busy = true
	n.began = time.Now()
	n.after(noteTime, n.overdue)
	n.work(n.write)
}

// work runs a function that the disk may block. Nobody waits for it.
func (n *note) work(fn func()) {
	s := n.sys
	s.workers.Add(1)
	s.dispatcher.Schedule(func() {
		defer s.workers.Add(-1)
		fn()
	})
}

func (n *note) after(d time.Duration, fn func()) {
	if n.timer != nil {
		n.timer.Stop()
	}
	n.timer = time.AfterFunc(d, fn)
}

func (n *note) write() {
	n.mu.Lock()
	m, number := n.latest, n.number
	if m == nil { // the note was of another kind with the same path
		n.busy = false
		n.timer.Stop()
		n.mu.Unlock()
		return
	}
	n.mu.Unlock()
	err := unbroken(func() error { return n.save(m) })
	n.mu.Lock()
	defer n.mu.Unlock()
	n.busy = false
	n.timer.Stop()
	if n.number != number { // only the outcome of the newer message matters
		n.begin()
		return
	}
	if err == nil {
		n.latest = nil
	} else if !errors.Is(err, errNoDir) {
		n.after(noteAgain, n.again)
	}
	n.say(err)
}

func (n *note) overdue() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.busy && time.Since(n.began) >= noteTime {
		n.say(bus.Errorf(bus.DeadlineExceeded, "not on disk after %s", noteTime))
		n.after(noteTime, n.overdue) // also for a later life, which will wait for the same write
	}
}

func (n *note) again() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.begin()
}

// say reports the outcome to the life.
func (n *note) say(err error) {
	if n.life.gone() {
		return
	}
	n.life.cell.post(&noted{life: n.life, note: n, number: n.number, err: err})
}

// noted is a Noted on its way to the life.
type noted struct {
	life   *life
	note   *note
	number uint64
	err    error
}

func (m *noted) deliver(l *life) {
	m.note.mu.Lock()
	last := m.note.number == m.number
	m.note.mu.Unlock()
	if m.life == l && last {
		l.hand(Noted{m.note.leaf, m.err}, nil)
	}
}

func (n *note) recall(l *life, m proto.Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.gone() {
		return
	}
	n.life = l
	if n.latest != nil && n.latest.ProtoReflect().Descriptor() != m.ProtoReflect().Descriptor() {
		n.latest = nil // the note is of another kind with the same path
	}
	if n.latest == nil {
		n.work(func() { n.read(l, m) })
		return
	}
	proto.Merge(m, n.latest)
	l.cell.post(&later{life: l, msg: Recalled{Leaf: n.leaf, Message: m, Found: true}})
	n.begin()
}

func (n *note) read(l *life, m proto.Message) {
	say := func(m Recalled) { l.cell.post(&later{life: l, msg: m}) }
	told := make(chan struct{})
	overdue := time.AfterFunc(noteTime, func() {
		defer close(told)
		say(Recalled{Leaf: n.leaf, Again: true, Err: bus.Errorf(bus.DeadlineExceeded, "not read from disk after %s", noteTime)})
	})
	var found bool
	err := unbroken(func() (err error) {
		found, err = n.load(m)
		return err
	})
	if !overdue.Stop() {
		<-told // the report that it takes long must not come after the result
	}
	if err == nil || errors.Is(err, durable.ErrDamaged) {
		say(Recalled{Leaf: n.leaf, Message: m, Found: found, Err: err})
		return
	}
	say(Recalled{Leaf: n.leaf, Err: err, Again: true})
	time.AfterFunc(noteAgain, func() { n.recall(l, m) })
}

// errNoDir says that nothing can be noted without a data directory.
var errNoDir = bus.Errorf(bus.FailedPrecondition, "the gateway has no data directory")

// unbroken turns a panic of fn into an error, because there is no life for it to end.
func unbroken(fn func() error) (err error) {
	_, err = guarded(context.Background(), func(context.Context) (any, error) { return nil, fn() })
	return err
}

func (n *note) save(m proto.Message) error {
	if n.dir == "" {
		return errNoDir
	}
	content, err := protojson.Marshal(m)
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(n.dir, 0o700); err != nil {
		return err
	}
	return n.sys.save(n.file(), json.RawMessage(content), 0o600)
}

func (n *note) file() string { return filepath.Join(n.dir, n.leaf+".json") }

// load reads the note into m. A damaged note is set aside.
func (n *note) load(m proto.Message) (found bool, err error) {
	if n.dir == "" {
		return false, nil
	}
	var content json.RawMessage
	err = durable.Load(n.file(), &content)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		if err = (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(content, m); err == nil {
			return true, nil
		}
		proto.Reset(m)
		err = fmt.Errorf("%w: %w", durable.ErrDamaged, err)
	}
	if errors.Is(err, durable.ErrDamaged) {
		if aside, failed := durable.SetAside(n.file()); failed == nil {
			err = fmt.Errorf("%s: %w", aside, err)
		}
	}
	return false, err
}
