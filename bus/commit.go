package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Writing tracks. Conn.Keep takes a message of class track and tells later what became of it: it is on disk, synced, or it is
// not and why. Messages of all tracks that come within a few milliseconds are written together, for a sync costs the same for one and
// for hundreds. A message of which nobody knows whether it was written (the answer did not come in time) is looked for before
// anything else is written on its subject, so that handing the same bytes in again after a failure never stores them twice.
//
// A writer has one message at a time on each subject; the next one waits for the outcome of the last.

// How writes are gathered.
const (
	commitDelay = 4 * time.Millisecond     // so long others may join the first one
	commitPause = 20400 * time.Microsecond // for each sync: less than 50 a second in the long run
	commitSlack = commitPause              // so much sooner a commit may follow one that was late
	batchSyncs  = 7                        // what an atomic batch costs, of any size, where it is not staged in memory; there it is one
	commitMsgs  = 250                      // of one commit; the server takes 1000
	commitBytes = 2 << 20
	keepQueue   = 4096 // writes that wait at most
)

// Priority says which tracks are dropped first where the stream gets full.
type Priority uint8

// The oldest records of the lowest priority are dropped first.
const (
	Low Priority = iota
	Normal
	High
)

// write is one message on its way to the disk.
type write struct {
	subject  string
	typ      string
	payload  []byte
	priority Priority
	done     func(seq uint64, err error)
}

// committer writes what is to be kept in groups. It has a goroutine only while there is something to write.
type committer struct {
	bus *Bus

	mu      sync.Mutex
	queue   []*write
	group   []*write // being written
	running bool

	// Of the goroutine alone.
	last       map[string]uint64 // sequence of the last message on each subject that was written here
	priorities map[string]Priority
	batch      uint64
	nonce      string
	due        time.Time // of the next commit
	syncs      int       // of the last one
	fresh      int64     // bytes written since the room was last looked at
	noted      uint64    // sequence that was in the ledger when it was last written from here
}

func newCommitter(b *Bus) *committer {
	return &committer{
		bus: b, last: map[string]uint64{}, priorities: map[string]Priority{},
		nonce: strconv.FormatInt(time.Now().UnixNano(), 36) + "-",
	}
}

// Keep stores payload on a subject of class track. done is called once, in whatever goroutine and maybe before Keep returns, when the
// message is on disk or when it is known not to be, or at last when that cannot be known; it must not block. Its errors are *Error: ResourceExhausted when
// the disk has no room but for others, Unavailable when the store does not work.
func (c *Conn) Keep(subject, typ string, payload []byte, p Priority, done func(seq uint64, err error)) {
	if c.commit == nil {
		done(0, Errorf(FailedPrecondition, "only the gateway itself writes tracks"))
		return
	}
	c.commit.keep(&write{subject: subject, typ: typ, payload: payload, priority: p, done: done})
}

func (m *committer) keep(w *write) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) >= keepQueue {
		go w.done(0, Errorf(ResourceExhausted, "%d writes wait for the disk already", keepQueue))
		return
	}
	m.queue = append(m.queue, w)
	if !m.running {
		m.running = true
		go m.run()
	}
}

func (m *committer) run() {
	for {
		time.Sleep(max(commitDelay, time.Until(m.due)))
		began := time.Now()
		m.syncs = 0
		group := m.gather()
		if group == nil {
			return // the next write may have its own goroutine already
		}
		m.commit(group)
		if soonest := began.Add(-commitSlack); m.due.Before(soonest) {
			m.due = soonest
		}
		m.due = m.due.Add(time.Duration(m.syncs) * commitPause)
	}
}

// settled waits until nothing on subject waits to be written, or nothing at all if that is empty.
func (m *committer) settled(ctx context.Context, subject string) error {
	busy := func(w *write) bool { return subject == "" || w.subject == subject }
	look := time.NewTicker(commitDelay)
	defer look.Stop()
	for {
		m.mu.Lock()
		wait := slices.ContainsFunc(m.queue, busy) || slices.ContainsFunc(m.group, busy)
		m.mu.Unlock()
		if !wait {
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// gather takes what one commit may hold, at most one message of each subject. If nothing waits it is nil, and the goroutine is over.
func (m *committer) gather() (group []*write) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) == 0 {
		m.running, m.queue, m.group = false, nil, nil
		return nil
	}
	m.group = nil
	size := 0
	taken := map[string]bool{}
	left := m.queue[:0]
	for _, w := range m.queue {
		if len(group) >= commitMsgs || len(group) > 0 && size+len(w.payload) > commitBytes || taken[w.subject] {
			left = append(left, w)
			continue
		}
		taken[w.subject] = true
		m.group = append(m.group, w)
		size += len(w.payload)
		group = append(group, w)
	}
	clear(m.queue[len(left):])
	m.queue = left
	return group
}

func (m *committer) commit(group []*write) {
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if err := m.ready(); err != nil {
		fail(group, err)
		return
	}
	group = m.expect(ctx, group)
	if len(group) == 0 {
		return
	}
	m.syncs = batchSyncs
	if len(group) > 1 && m.bus.stage() {
		m.syncs = 1
	}
	if len(group) >= m.syncs {
		m.together(ctx, group)
		return
	}
	m.syncs = len(group)
	for i := range group {
		m.together(ctx, group[i:i+1])
	}
}

// together writes a group as one.
func (m *committer) together(ctx context.Context, group []*write) {
	last, err := m.publish(ctx, group)
	if err != nil {
		m.settle(group, err)
		return
	}
	for i, w := range group {
		m.stored(w, last-uint64(len(group)-1-i))
	}
	m.tidy(last)
}

func fail(group []*write, err error) {
	for _, w := range group {
		w.done(0, err)
	}
}

// ready says why nothing can be written now.
func (m *committer) ready() error {
	b := m.bus
	if why := b.Report().Store; why != "" {
		return Errorf(Unavailable, "the store does not work: %s", why)
	}
	if !b.conn.nc.IsConnected() {
		return Errorf(Unavailable, "the bus is restarting")
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(b.cfg.Dir, &fs); err == nil {
		if free := fs.Bavail * uint64(fs.Bsize); free < uint64(b.cfg.Reserve) {
			return Errorf(ResourceExhausted, "the disk has %d KiB left, and the last %d KiB are not for tracks", free>>10, b.cfg.Reserve>>10)
		}
	}
	return nil
}

// expect finds out what the last message on each subject is, where that is not known, and takes out
// what turns out to be stored already.
func (m *committer) expect(ctx context.Context, group []*write) []*write {
	open := group[:0]
	for _, w := range group {
		if _, known := m.last[w.subject]; !known {
			r, _, err := m.bus.conn.newest(ctx, m.bus.conn.keep, streamTracks, w.subject)
			if err != nil {
				w.done(0, AsError(err))
				continue
			}
			m.last[w.subject] = r.Seq
			if r.Seq > 0 && bytes.Equal(r.Data, w.payload) {
				m.stored(w, r.Seq)
				continue
			}
		}
		open = append(open, w)
	}
	return open
}

func (m *committer) stored(w *write, seq uint64) {
	m.last[w.subject], m.priorities[w.subject] = seq, w.priority
	m.fresh += int64(len(w.payload))
	w.done(seq, nil)
}

// publish writes the group as one and returns the sequence of its last message.
func (m *committer) publish(ctx context.Context, group []*write) (uint64, error) {
	nc := m.bus.conn.nc
	m.batch++
	id := m.nonce + strconv.FormatUint(m.batch, 36)
	for i, w := range group {
		msg := &nats.Msg{Subject: w.subject, Data: w.payload, Header: Header{
			headerType:                            {w.typ},
			"Nats-Expected-Last-Subject-Sequence": {strconv.FormatUint(m.last[w.subject], 10)},
		}}
		if len(group) > 1 {
			msg.Header["Nats-Batch-Id"] = []string{id}
			msg.Header["Nats-Batch-Sequence"] = []string{strconv.Itoa(i + 1)}
		}
		if i < len(group)-1 {
			if err := nc.PublishMsg(msg); err != nil {
				return 0, err
			}
			continue
		}
		if len(group) > 1 {
			msg.Header["Nats-Batch-Commit"] = []string{"1"}
		}
		answer, err := nc.RequestMsgWithContext(ctx, msg)
		if err != nil {
			return 0, err
		}
		return acknowledged(answer.Data)
	}
	return 0, nil
}

// acknowledged reads the server's word on a write.
func acknowledged(p []byte) (uint64, error) {
	var ack struct {
		Seq   uint64              `json:"seq"`
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(p, &ack); err != nil {
		return 0, err
	}
	if ack.Error != nil {
		return 0, ack.Error
	}
	return ack.Seq, nil
}

// settle finds out what became of a group that was not acknowledged. What is there is stored; of what is not, another
// attempt is made alone if the server would have taken it but for what was expected.
func (m *committer) settle(group []*write, cause error) {
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	for _, w := range group {
		delete(m.last, w.subject)
	}
	var api *jetstream.APIError
	again := errors.As(cause, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || len(group) > 1)
	for _, w := range m.expect(ctx, group) {
		if !again {
			delete(m.last, w.subject) // it may arrive yet
			w.done(0, m.why(cause))
			continue
		}
		seq, err := m.publish(ctx, []*write{w})
		if err != nil {
			delete(m.last, w.subject)
			w.done(0, m.why(err))
			continue
		}
		m.stored(w, seq)
	}
}

func (m *committer) why(err error) error {
	return Errorf(Unavailable, "the store does not take it: %s", oneLine(m.bus.conn.reason(context.Background(), err).Error()))
}
