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

// A note is a message that an actor keeps on disk for its later lives, also after a restart of the gateway or a power cut: what was
// spent, who is revoked. It is for state, not for data. Each note is a file in Dir, called like its leaf, with a checksum.

type (
	// Recalled is the outcome of Recall.
	Recalled struct {
		Leaf    string
		Message proto.Message // the one given to Recall, empty unless Found; nil if Again
		Found   bool
		Err     error // why the note could not be read
		Again   bool  // after an error: it is read again, and another Recalled follows; false: what stood there is lost
	}

	// Noted is the outcome of Note; of several while one was being written, that of the last. After an error the newest message is written again until
	// it is on disk, and another Noted follows each attempt.
	Noted struct {
		Leaf string
		Err  error // nil: it is on disk
	}
)

const (
	noteTime  = 5 * time.Second // after which a Noted with an error says that a write still takes
	noteAgain = 5 * time.Second // between attempts
)

// Recall reads the note leaf into m. The outcome arrives as Recalled.
func (c *Context) Recall(leaf string, m proto.Message) { c.l.cell.note(leaf).recall(c.l, m) }

// Note replaces the note leaf with m. The outcome arrives as Noted. If this life ends first, m is written all the same.
func (c *Context) Note(leaf string, m proto.Message) { c.l.cell.note(leaf).put(c.l, m) }

// note is one note of an actor. One goroutine at a time writes it, whichever life has asked for that, so that no life reads or leaves what is older
// than what the life before has noted, also where the actor was taken out of the config in between.
type note struct {
	sys  *System
	dir  string // empty: there is none
	leaf string

	mu     sync.Mutex
	life   *life         // the last one that noted or recalled: it hears of it
	latest proto.Message // to be on disk; nil: it is, or was never told
	number uint64        // of the latest
	busy   bool          // it is being written
	began  time.Time     // since when
	timer  *time.Timer   // of the next attempt, or of the word that this one takes long

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

// begin has the latest written, unless that is under way. The caller holds the lock, here and below where a timer or the number is touched.
func (n *note) begin() {
	if n.busy || n.latest == nil {
		return
	}
	n.busy = true
	n.began = time.Now()
	n.after(noteTime, n.overdue)
	n.work(n.write)
}

// work is for what the disk may hold up: nobody waits for it, and it ends when the disk lets it.
func (n *note) work(fn func()) {
	s := n.sys
	s.workers.Add(1)
	s.crew.Schedule(func() {
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
	if m == nil { // it was of another kind that was called the same
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
	if n.number != number { // the outcome of that one is of interest
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
		n.say(bus.Errorf(bus.DeadlineExceeded, "it is not on disk after %s", noteTime))
		n.after(noteTime, n.overdue) // also for a life to come, which will wait for the same
	}
}

func (n *note) again() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.begin()
}

// say tells the outcome.
func (n *note) say(err error) {
	if n.life.gone() {
		return
	}
	n.life.cell.post(&noted{life: n.life, note: n, number: n.number, err: err})
}

// noted is Noted on its way.
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
		n.latest = nil // of another kind that was called the same
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
		say(Recalled{Leaf: n.leaf, Again: true, Err: bus.Errorf(bus.DeadlineExceeded, "the disk has not told it after %s", noteTime)})
	})
	var found bool
	err := unbroken(func() (err error) {
		found, err = n.load(m)
		return err
	})
	if !overdue.Stop() {
		<-told // that it takes long is no later word than what it has brought
	}
	if err == nil || errors.Is(err, durable.ErrDamaged) {
		say(Recalled{Leaf: n.leaf, Message: m, Found: found, Err: err})
		return
	}
	say(Recalled{Leaf: n.leaf, Err: err, Again: true})
	time.AfterFunc(noteAgain, func() { n.recall(l, m) })
}

// errNoDir is why nothing can be noted where there is no data directory.
var errNoDir = bus.Errorf(bus.FailedPrecondition, "the gateway has no data directory")

// unbroken makes an error of a panic of fn: there is no life that it would end.
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

// load reads the note into m. One that is damaged is set aside.
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
