package mdi

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewayd/protocols/record"
	"gatewayd/protocols/uplink"
)

// world is a gateway, a receiver, and failing links between them, in virtual time.
type world struct {
	t    *rapid.T
	dice *rand.Rand
	now  time.Time

	client   *Client
	receiver *Receiver
	conn     *ServerConn // nil: there is no connection
	wire     []packet

	cuts, drops, doubles, refusals, busy float64 // probabilities

	track   []record.Record // all recorded records
	next    int             // the first to be submitted next
	pending map[int][]int   // batches under way: indexes into track
	settled map[int]bool    // records that need not be sent again
	stored  []string        // by the receiver, in order
	taken   map[string]int  // how often
	refuse  map[string]bool // what the receiver will never accept
	asked   map[uint32]bool // the receiver's commands without an answer
	given   int             // commands
	run     map[uint32]int  // how often each was carried out
	answers map[uint32]int  // how often each was answered
	keys    int
	last    []string
}

type packet struct {
	at time.Time
	up bool
	b  []byte
}

func newWorld(t *rapid.T) *world {
	w := &world{
		t: t, dice: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)), now: epoch,
		pending: map[int][]int{}, settled: map[int]bool{}, taken: map[string]int{}, refuse: map[string]bool{},
		asked: map[uint32]bool{}, run: map[uint32]int{}, answers: map[uint32]int{},
	}
	w.client = NewClient(ClientConfig{Gateway: "site", Session: SessionID{1}, Keepalive: 10 * time.Second, Patience: 30 * time.Second})
	w.receiver = NewReceiver(ReceiverConfig{Window: 3, Take: w.take})
	return w
}

func (w *world) take(_ string, all []record.Record) (map[int]string, error) {
	if w.dice.Float64() < w.busy {
		return nil, errors.New("the disk is full")
	}
	no := map[int]string{}
	for i, r := range all {
		id := fmt.Sprint(r.Track, " ", r.Sequence)
		if w.refuse[id] {
			no[i] = "never"
			continue
		}
		w.taken[id]++
		w.stored = append(w.stored, id)
	}
	return no, nil
}

// record records n more.
func (w *world) record(n int) {
	for range n {
		// Both tracks have number 1 in their config: the session distinguishes them.
		number := uint32(w.dice.IntN(2))
		r := record.Record{
			Track: fmt.Sprint("tracks/", number), Number: 1, Time: w.now, Boot: "boot", Uptime: w.now.Sub(epoch), Trusted: true,
			Fields: []record.Field{{Name: "a", ID: 1, Value: w.dice.Int64N(100)}, {Name: "b", ID: 2, Unit: "V", Value: 0.1 * float64(w.dice.IntN(50))}},
		}
		r.Sequence = 1
		for _, had := range w.track {
			if had.Track == r.Track {
				r.Sequence = had.Sequence + 1
			}
		}
		if w.dice.Float64() < w.refusals {
			w.refuse[fmt.Sprint(r.Track, " ", r.Sequence)] = true
		}
		w.track = append(w.track, r)
	}
}

// submit submits what is not under way, in order, as an engine does.
func (w *world) submit() {
	for len(w.pending) < w.client.Window() && w.next < len(w.track) {
		var batch []int
		for ; w.next < len(w.track) && len(batch) < 5; w.next++ {
			if !w.settled[w.next] {
				batch = append(batch, w.next)
			}
		}
		if len(batch) == 0 {
			return
		}
		records := make([]record.Record, len(batch))
		for i, at := range batch {
			records[i] = w.track[at]
		}
		w.keys++
		w.pending[w.keys] = batch
		w.do(w.client.Submit(w.now, w.keys, records), nil)
	}
}

// do carries out effects of the client, or of a connection of the receiver.
func (w *world) do(effects []Effect, from *ServerConn) {
	for _, e := range effects {
		switch e := e.(type) {
		case Send:
			w.send(e, from)
		case Settled:
			w.settle(e)
		case Run:
			w.run[e.ID]++
			w.do(w.client.Answer(w.now, e.ID, []byte("{}"), nil), nil)
		case Answered:
			w.answers[e.ID]++
			delete(w.asked, e.ID)
		case Evict:
			w.do(e.End(Replaced, ""), e.ServerConn)
		case Renumbered:
			w.t.Fatalf("%s counts again", e.Track)
		case Over:
			w.last = append(w.last, fmt.Sprint(from != nil, e.Err))
			if from == nil || from == w.conn {
				w.cut()
			}
		}
	}
}

func (w *world) settle(e Settled) {
	batch := w.pending[e.Key]
	delete(w.pending, e.Key)
	for _, at := range batch {
		w.settled[at] = true
	}
	for _, r := range e.Refused {
		id := fmt.Sprint(w.track[batch[r.Index]].Track, " ", w.track[batch[r.Index]].Sequence)
		if !w.refuse[id] || r.Why != "never" {
			w.t.Fatalf("%s is refused: %s", id, r.Why)
		}
	}
	for i, at := range batch {
		id := fmt.Sprint(w.track[at].Track, " ", w.track[at].Sequence)
		if told := slices.ContainsFunc(e.Refused, func(r uplink.Refusal) bool { return r.Index == i }); !told && w.taken[id] == 0 {
			w.t.Fatalf("%s is settled and was not taken", id)
		}
	}
}

func (w *world) send(b []byte, from *ServerConn) {
	if w.conn == nil || from != nil && from != w.conn {
		return
	}
	for w.dice.Float64() >= w.drops {
		w.wire = append(w.wire, packet{w.now.Add(time.Duration(w.dice.IntN(500)) * time.Millisecond), from == nil, b})
		if w.dice.Float64() >= w.doubles {
			return
		}
	}
}

// cut ends the connection: messages under way are lost, and nothing is confirmed.
func (w *world) cut() {
	w.client.Lost()
	if w.conn != nil {
		if w.dice.IntN(2) == 0 {
			w.conn.Lost() // otherwise the receiver does not notice
		}
		w.conn = nil
	}
	w.wire = nil
	clear(w.pending)
	w.next = 0
}

// step does what happens next.
func (w *world) step() {
	if w.conn == nil {
		w.conn = w.receiver.Accept(w.now, nil)
		w.do(w.client.Begin(w.now), nil)
	}
	w.submit()
	if w.dice.Float64() < w.cuts {
		w.cut()
		return
	}
	next, timer := w.client.Next(), true
	if w.conn != nil && w.conn.Next().Before(next) {
		next = w.conn.Next()
	}
	first := -1
	for i, p := range w.wire { // messages in one direction arrive in order
		if first < 0 || p.at.Before(w.wire[first].at) {
			if !slices.ContainsFunc(w.wire[:i], func(q packet) bool { return q.up == p.up }) {
				first = i
			}
		}
	}
	if first >= 0 && !w.wire[first].at.After(next) {
		next, timer = w.wire[first].at, false
	}
	if next.After(w.now) {
		w.now = next
	}
	if timer {
		w.do(w.client.Tick(w.now), nil)
		if w.conn != nil {
			w.do(w.conn.Tick(w.now), w.conn)
		}
		return
	}
	p := w.wire[first]
	w.wire = slices.Delete(w.wire, first, first+1)
	m, err := Decode(p.b)
	switch {
	case err != nil:
		w.t.Fatal(err)
	case p.up:
		conn := w.conn
		w.do(conn.Receive(w.now, m), conn)
	default:
		w.do(w.client.Receive(w.now, m), nil)
	}
}

// command makes the receiver send a command.
func (w *world) command() {
	if w.conn == nil {
		return
	}
	conn := w.conn
	if id, effects, err := conn.Command("field/plc", "Do", nil); err == nil {
		w.asked[id] = true
		w.given++
		w.do(effects, conn)
	}
}

func (w *world) done() bool { return len(w.settled) == len(w.track) && len(w.asked) == 0 }

// Whatever happens to the links: what is settled has been accepted, nothing is accepted twice or
// lost, and commands are carried out once.
func TestNothingLostNothingTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		chance := rapid.SampledFrom([]float64{0, 0.01, 0.1})
		w.cuts, w.drops, w.doubles = chance.Draw(t, "cuts"), chance.Draw(t, "drops"), chance.Draw(t, "doubles")
		w.refusals, w.busy = chance.Draw(t, "refusals"), chance.Draw(t, "busy")
		for range 300 {
			if w.dice.IntN(4) == 0 {
				w.record(w.dice.IntN(8))
			}
			if w.dice.IntN(20) == 0 {
				w.command()
			}
			w.step()
		}
		w.cut() // a dropped message is sent again on the next connection
		ordered := w.drops == 0 && w.doubles == 0
		w.cuts, w.drops, w.doubles, w.busy = 0, 0, 0, 0
		for n := 0; !w.done(); n++ {
			if n > 20000 {
				t.Fatalf("%d of %d are settled, %d commands wait; lately %q", len(w.settled), len(w.track), len(w.asked), w.last[max(0, len(w.last)-5):])
			}
			w.step()
		}
		w.account(t, ordered)
	})
}

func (w *world) account(t *rapid.T, ordered bool) {
	last := map[string]uint64{}
	for _, r := range w.track {
		id := fmt.Sprint(r.Track, " ", r.Sequence)
		if want := 1; w.refuse[id] && w.taken[id] != 0 || !w.refuse[id] && w.taken[id] != want {
			t.Errorf("%s was taken %d times", id, w.taken[id])
		}
	}
	for _, id := range w.stored {
		var track string
		var n uint64
		_, _ = fmt.Sscan(id, &track, &n)
		if ordered && n < last[track] {
			t.Errorf("%s comes after %d", id, last[track])
		}
		last[track] = n
	}
	for id := range uint32(w.given) {
		if w.run[id] != 1 || w.answers[id] != 1 {
			t.Errorf("command %d was carried out %d times and answered %d times", id, w.run[id], w.answers[id])
		}
	}
}
