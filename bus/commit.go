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

// Writing tracks. Conn.Keep accepts a message of class track and later reports its outcome: either
// it is on disk, synced, or it is not, and why. Messages of all tracks that arrive within a few
// milliseconds are written together, because a sync costs the same for one message as for hundreds.
// If the outcome of a write is unknown (the answer did not arrive in time), the committer looks for
// the message before it writes anything else on that subject. Keeping the same bytes again after a
// failure therefore never stores them twice.
//
// A writer has one message in flight per subject; the next one waits for the outcome of the last.

// Parameters of group commit.
const (
	commitDelay = 4 * time.Millisecond     // how long a commit waits for further writes
	commitPause = 20400 * time.Microsecond // per sync: fewer than 50 syncs a second in the long run
	commitSlack = commitPause              // how much earlier a commit may follow one that was late
	batchSyncs  = 7                        // syncs of an atomic batch of any size that is not staged in memory; one sync otherwise
	commitMsgs  = 250                      // per commit; the server accepts 1000
	commitBytes = 2 << 20
	keepQueue   = 4096 // maximum number of waiting writes
)

// Priority says which tracks are dropped first when the stream is full.
type Priority uint8

// The oldest records of the lowest priority are dropped first.
const (
	Low Priority = iota
	Normal
	High
)

// write is one message to be stored.
type write struct {
	subject  string
	typ      string
	payload  []byte
	priority Priority
	done     func(seq uint64, err error)
}

// committer stores track messages in groups. It has a goroutine only while there is something to
// write.
type committer struct {
	bus *Bus

	mu      sync.Mutex
	queue   []*write
	group   []*write // being written
	running bool

	// Used by the goroutine only.
	last       map[string]uint64 // sequence of the last message written by this process, by subject
	priorities map[string]Priority
	batch      uint64
	nonce      string
	due        time.Time // time of the next commit
	syncs      int       // of the last commit
	fresh      int64     // bytes written since makeRoom was last called
	noted      uint64    // sequence recorded when the committer last wrote the ledger
}

func newCommitter(b *Bus) *committer {
	return &committer{
		bus: b, last: map[string]uint64{}, priorities: map[string]Priority{},
		nonce: strconv.FormatInt(time.Now().UnixNano(), 36) + "-",
	}
}

// Keep stores payload on a subject of class track. It calls done once, in any goroutine and
// possibly before Keep returns: when the message is on disk, when it is known not to be, or when
// the outcome cannot be determined. done must not block. Its errors are *Error: ResourceExhausted
// if the disk has no space left for tracks or keepQueue writes are waiting already, Unavailable if
// the store does not work, FailedPrecondition if c is not the gateway's own connection.
func (c *Conn) Keep(subject, typ string, payload []byte, p Priority, done func(seq uint64, err error)) {
	if c.commit == nil {
		done(0, Errorf(FailedPrecondition, "only the gateway itself can write tracks"))
		return
	}
	c.commit.keep(&write{subject: subject, typ: typ, payload: payload, priority: p, done: done})
}

func (m *committer) keep(w *write) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.queue) >= keepQueue {
		go w.done(0, Errorf(ResourceExhausted, "%d writes are already waiting for the disk", keepQueue))
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
			return // the next write may have started its own goroutine already
		}
		m.commit(group)
		if soonest := began.Add(-commitSlack); m.due.Before(soonest) {
			m.due = soonest
		}
		m.due = m.due.Add(time.Duration(m.syncs) * commitPause)
	}
}

// settled waits until no write on subject is pending, or no write at all if subject is "".
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

// gather takes the writes for one commit, at most one per subject. If none are waiting it returns
// nil and the goroutine ends.
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

// together writes a group as one batch.
func (m *committer) together(ctx context.Context, group []*write) {
	last, err := m.publish(ctx, group)
	if err != nil {
		m.settle(group, err)
		return
	}
	for i, w := range group {
		m.stored(w, last-uint64(len(group)-1-i))
	}
	m.housekeep(last)
}

func fail(group []*write, err error) {
	for _, w := range group {
		w.done(0, err)
	}
}

// ready returns why nothing can be written now, or nil.
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
			return Errorf(ResourceExhausted, "the disk has %d KiB left, of which %d KiB are reserved: tracks are not written", free>>10, b.cfg.Reserve>>10)
		}
	}
	return nil
}

// expect looks up the last message of each subject where it is not known, and completes the writes
// that turn out to be stored already. It returns the others.
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

// publish writes the group as one batch and returns the sequence of its last message.
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

// acknowledged parses the server's answer to a write.
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

// settle determines the outcome of a group that was not acknowledged. Messages found in the stream
// are stored. The others are retried one by one if the server refused the group only because of a
// wrong expected sequence, or because of another message in it.
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
			delete(m.last, w.subject) // the message may still arrive
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
	return Errorf(Unavailable, "the store rejects it: %s", oneLine(m.bus.conn.reason(context.Background(), err).Error()))
}
