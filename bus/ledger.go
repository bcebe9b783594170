package bus

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"gatewayd/protocols/durable"
)

// Loss is a range of messages that were acknowledged and are lost.
type Loss struct {
	Stream  string
	FromSeq uint64 // both inclusive; 0 if unknown
	ToSeq   uint64
	Reason  string
	Moved   string // where the damaged stream was moved; "" if it is still in use
}

func (l Loss) String() string {
	return fmt.Sprintf("stream %s lost %d to %d: %s", l.Stream, l.FromSeq, l.ToSeq, l.Reason)
}

// Report describes the state of the store at the last start.
type Report struct {
	Store  string   // why the store does not work; "" if it does
	Losses []Loss   // lost messages
	Notes  []string // other repairs
}

// Report returns the state of the store at the last start or Restart.
func (b *Bus) Report() Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.report
	r.Losses = append([]Loss(nil), r.Losses...)
	r.Notes = append([]string(nil), r.Notes...)
	return r
}

// ledger is the bus's own record of its streams, kept beside the store and synced, so that a store
// that comes back shorter is noticed.
type ledger map[string]entry

type entry struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	// LossMarks are used for the track stream only: messages up to each of these sequences were
	// once lost. Oldest first.
	LossMarks []uint64 `json:"loss_marks,omitempty"`
}

func (e entry) same(o entry) bool {
	return e.First == o.First && e.Last == o.Last && slices.Equal(e.LossMarks, o.LossMarks)
}

// lossMark returns the newest loss mark, or 0 if there is none.
func (e entry) lossMark() uint64 {
	if len(e.LossMarks) == 0 {
		return 0
	}
	return e.LossMarks[len(e.LossMarks)-1]
}

// maxLossMarks is the maximum number of loss marks kept: flash that loses data at every start must
// not make the ledger grow.
const maxLossMarks = 64

const ledgerFile = "ledger.json"

// ledgerStride is the number of track messages after which the ledger is written regardless of
// ledgerPause.
const ledgerStride = 8192

// ledgerPause is the minimum time between two writes of the ledger while the bus runs, to limit
// flash wear.
const ledgerPause = 10 * time.Minute

func readLedger(dir string) (ledger, error) {
	l := ledger{}
	p, err := os.ReadFile(filepath.Join(dir, ledgerFile))
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return l, err
	}
	if err := json.Unmarshal(p, &l); err != nil {
		return ledger{}, fmt.Errorf("%s: %w", ledgerFile, err)
	}
	return l, nil
}

func (l ledger) write(dir string) error {
	p, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return durable.Write(filepath.Join(dir, ledgerFile), append(p, '\n'), 0o644)
}

// take reads the state of every file stream from a running server.
func take(s *server.Server) (map[string]server.StreamState, error) {
	info, err := s.Jsz(&server.JSzOptions{Accounts: true, Streams: true})
	if err != nil {
		return nil, err
	}
	all := map[string]server.StreamState{}
	for _, a := range info.AccountDetails {
		for _, d := range a.Streams {
			if onFile(d.Name) {
				all[d.Name] = d.State
			}
		}
	}
	return all, nil
}

// remember writes the ledger if it has changed. No other code waits for it, because the disk may be
// stuck.
func (b *Bus) remember() error {
	b.noting.Lock()
	defer b.noting.Unlock()
	s := b.server.get()
	if s == nil || b.cfg.Dir == "" || b.Report().Store != "" {
		return nil
	}
	states, err := take(s)
	if err != nil {
		return err
	}
	b.mu.Lock()
	before := b.ledger
	b.mu.Unlock()
	now := ledger{}
	for name, st := range states {
		now[name] = entry{First: st.FirstSeq, Last: st.LastSeq, LossMarks: before[name].LossMarks}
	}
	if maps.EqualFunc(now, before, entry.same) {
		return nil
	}
	if err := now.write(b.cfg.Dir); err != nil {
		return err
	}
	b.mu.Lock()
	b.ledger, b.written = now, time.Now()
	b.mu.Unlock()
	return nil
}

// compare returns what a store that has just been opened has lost. found are the streams the server
// has, present the stream directories on disk. It is a pure function.
func compare(known ledger, found map[string]server.StreamState, present []string) []Loss {
	var all []Loss
	on := map[string]bool{}
	for _, name := range present {
		on[name] = true
		if _, ok := found[name]; !ok {
			all = append(all, Loss{Stream: name, FromSeq: known[name].First, ToSeq: known[name].Last, Reason: "the server cannot read it"})
		}
	}
	for name, e := range known {
		st, ok := found[name]
		switch {
		case !ok && !on[name]:
			all = append(all, Loss{Stream: name, FromSeq: e.First, ToSeq: e.Last, Reason: "its directory is gone"})
		case ok && st.LastSeq < e.Last:
			all = append(all, Loss{Stream: name, FromSeq: st.LastSeq + 1, ToSeq: e.Last, Reason: "messages at its end are missing"})
		}
	}
	if st := found[streamTracks]; st.Lost != nil && st.LastSeq >= known[streamTracks].Last {
		all = append(all, Loss{
			Stream: streamTracks, FromSeq: st.FirstSeq, ToSeq: st.LastSeq,
			Reason: fmt.Sprintf("%d messages within are unreadable", len(st.Lost.Msgs)),
		})
	}
	for name, st := range found {
		if accounted(name) && st.LastSeq >= known[name].Last {
			all = append(all, gaps(name, st)...)
		}
	}
	sort.Slice(all, func(i, j int) bool {
		return all[i].Stream < all[j].Stream || all[i].Stream == all[j].Stream && all[i].FromSeq < all[j].FromSeq
	})
	return all
}

// gaps returns the holes in a stream from which nothing is ever deleted.
func gaps(name string, st server.StreamState) []Loss {
	if st.Msgs == 0 || st.LastSeq < st.FirstSeq || st.LastSeq-st.FirstSeq+1 == st.Msgs {
		return nil
	}
	missing := st.LastSeq - st.FirstSeq + 1 - st.Msgs
	return []Loss{{
		Stream: name, FromSeq: st.FirstSeq, ToSeq: st.LastSeq,
		Reason: fmt.Sprintf("%d messages within are unreadable", missing),
	}}
}
