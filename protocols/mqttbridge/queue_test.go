package mqttbridge_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/mqttbridge"
	"gatewayd/protocols/mqttclient"
)

// office accepts messages and gives the outcome of each when the test says so.
type office struct {
	taken []string
	words []chan error
	room  int
}

var errFull = errors.New("full")

func (o *office) offer(m mqttclient.Message) (<-chan error, error) {
	if m.Topic == "" {
		return nil, mqttclient.ErrTopic
	}
	if o.room == 0 {
		return nil, errFull
	}
	o.room--
	o.taken = append(o.taken, m.Topic)
	word := make(chan error, 1)
	o.words = append(o.words, word)
	return word, nil
}

func outgoing(topics ...string) (all []mqttbridge.Outgoing) {
	for _, t := range topics {
		all = append(all, mqttbridge.Outgoing{Message: mqttclient.Message{Topic: t, QoS: 1}})
	}
	return all
}

func TestManyBatchesAreUnderWayAndEachIsDoneByItself(t *testing.T) {
	var q mqttbridge.Queue
	o := &office{room: 100}
	for i := range 5 {
		q.Push(uint64(10+i), outgoing(fmt.Sprint(i, "a"), fmt.Sprint(i, "b")))
	}
	q.Push(12, outgoing("12 once more"))
	if refused, _, err := q.Send(time.Now(), 7, o.offer); refused != 0 || err != nil {
		t.Fatal(refused, err)
	}
	if want := []string{"0a", "0b", "1a", "1b", "2a", "2b", "3a"}; !slices.Equal(o.taken, want) {
		t.Errorf("%q", o.taken)
	}
	for _, i := range []int{0, 1, 2, 4} {
		o.words[i] <- nil
	}
	words := q.InFlight().Wait(nil)
	if len(words) != 3 {
		t.Fatal(words)
	}
	if sent, refused, lost := q.Take(words); sent != 3 || refused != 0 || lost != nil {
		t.Error(sent, refused, lost)
	}
	if done := q.Done(); done != 10 {
		t.Errorf("%d is done, and 1b is not", done)
	}
	o.words[3] <- &mqttclient.RefusedError{}
	if sent, refused, _ := q.Take(q.InFlight().Wait(nil)); sent != 1 || refused != 1 {
		t.Error(sent, refused)
	}
	if done := q.Done(); done != 11 {
		t.Error(done)
	}
}

// Messages that the outside broker acknowledged before the connection ended are not sent again; all
// others are, in order.
func TestAfterALossOnlyWhatHasNoWordGoesAgain(t *testing.T) {
	var q mqttbridge.Queue
	o := &office{room: 100}
	q.Push(1, outgoing("a", "b", "c"))
	q.Push(2, nil)
	q.Push(3, outgoing("d", "", "e"))
	if refused, _, err := q.Send(time.Now(), 4, o.offer); refused != 0 || err != nil {
		t.Fatal(refused, err)
	}
	o.words[0] <- nil
	o.words[1] <- mqttclient.ErrLost
	o.words[2] <- nil
	o.words[3] <- mqttclient.ErrLost
	if _, _, lost := q.Take(q.InFlight().Wait(nil)); lost == nil {
		t.Error("nobody says that it is lost")
	}
	if done := q.Done(); done != 0 {
		t.Error(done)
	}
	o.taken, o.words = nil, nil
	if refused, _, err := q.Send(time.Now(), 100, o.offer); refused != 1 || err != nil {
		t.Error(refused, err)
	}
	if want := []string{"b", "d", "e"}; !slices.Equal(o.taken, want) {
		t.Errorf("%q", o.taken)
	}
	for _, w := range o.words {
		w <- nil
	}
	if sent, _, lost := q.Take(q.InFlight().Wait(nil)); sent != 3 || lost != nil {
		t.Error(sent, lost)
	}
	if done := q.Done(); done != 3 || q.Bytes() != 0 {
		t.Error(done, q.Bytes())
	}
}

func TestWhatIsUnderWayIsBounded(t *testing.T) {
	var q mqttbridge.Queue
	o := &office{room: 100}
	for i := range 20 {
		l := outgoing(fmt.Sprint(i))
		l[0].Payload = []byte(strings.Repeat("x", mqttbridge.MaxInFlightBytes/4))
		q.Push(uint64(1+i), l)
	}
	if _, _, err := q.Send(time.Now(), 20, o.offer); err != nil || len(o.taken) != 4 {
		t.Errorf("%d are under way, %v", len(o.taken), err)
	}
	o.words[0] <- nil
	q.Take(q.InFlight().Wait(nil))
	o.room = 0
	if _, _, err := q.Send(time.Now(), 20, o.offer); !errors.Is(err, errFull) {
		t.Error(err)
	}
	o.room = 100
	if _, _, err := q.Send(time.Now(), 20, o.offer); err != nil || len(o.taken) != 5 {
		t.Errorf("%d went out, %v", len(o.taken), err)
	}
}

func TestWhatIsOfNoUseAnyMoreStays(t *testing.T) {
	var q mqttbridge.Queue
	o := &office{room: 100}
	now := time.Now()
	l := outgoing("old", "young")
	l[0].Expires, l[1].Expires = now, now.Add(time.Minute)
	q.Push(1, l)
	if _, expired, err := q.Send(now, 20, o.offer); err != nil || expired != 1 || !slices.Equal(o.taken, []string{"young"}) {
		t.Errorf("%q went out, %d expired, %v", o.taken, expired, err)
	}
	over := make(chan struct{})
	close(over)
	if words := q.InFlight().Wait(over); words != nil {
		t.Error(words)
	}
}

// A message that the broker refuses for now is sent again: for ever if the broker accepts nothing,
// and a limited number of times if it accepts others.
func TestWhatIsRefusedForNow(t *testing.T) {
	var q mqttbridge.Queue
	o := &office{room: 100}
	full := &mqttclient.RefusedError{Code: 0x97}
	q.Push(1, outgoing("a"))
	try := func(words ...error) (sent, refused int, lost error) {
		t.Helper()
		o.words = nil
		if _, _, err := q.Send(time.Now(), 20, o.offer); err != nil || len(o.words) != len(words) {
			t.Fatalf("%d went out, %v", len(o.words), err)
		}
		for i, w := range words {
			o.words[i] <- w
		}
		return q.Take(q.InFlight().Wait(nil))
	}
	for range 30 {
		if sent, refused, lost := try(full); sent+refused != 0 || !mqttbridge.Temporary(lost) || q.Done() != 0 || !q.HasRefused() {
			t.Fatal(sent, refused, lost)
		}
	}
	q.Push(2, outgoing("b"))
	if sent, refused, lost := try(full, nil); sent != 1 || refused != 0 || !mqttbridge.Temporary(lost) || q.Done() != 0 {
		t.Fatal(sent, refused, lost)
	}
	for range 19 {
		if sent, refused, lost := try(full); sent+refused != 0 || !mqttbridge.Temporary(lost) || q.Done() != 0 || !q.HasRefused() {
			t.Fatal(sent, refused, lost)
		}
	}
	if sent, refused, lost := try(full); sent != 0 || refused != 1 || lost != nil || q.HasRefused() || q.Done() != 2 {
		t.Fatal(sent, refused, lost)
	}
	q.Push(3, outgoing("c", "d"))
	if _, refused, lost := try(full, mqttclient.ErrLost); refused != 0 || !errors.Is(lost, mqttclient.ErrLost) {
		t.Fatal(refused, lost)
	}
	if sent, _, lost := try(nil, nil); sent != 2 || lost != nil || q.Done() != 3 {
		t.Fatal(sent, lost)
	}
	q.Push(4, outgoing("e"))
	if _, refused, lost := try(&mqttclient.RefusedError{Code: 0x87}); refused != 1 || lost != nil || q.Done() != 4 {
		t.Fatal(refused, lost)
	}
}

// A broker whose quota is refilled slowly accepts the first of the refused messages again and
// again: the rest are not skipped for that.
func TestAQuotaThatLetsFewIn(t *testing.T) {
	var q mqttbridge.Queue
	o := &office{room: 1 << 20}
	full := &mqttclient.RefusedError{Code: 0x97}
	const n = 15
	want := []string{}
	for i := range n {
		want = append(want, fmt.Sprint(i))
	}
	q.Push(1, outgoing(want...))
	free := outgoing("free") // the broker does not acknowledge them
	free[0].QoS = 0
	q.Push(2, free)
	var taken []string
	for round := range 30 * (n + 1) {
		o.taken, o.words = nil, nil
		if _, _, err := q.Send(time.Now(), n+1, o.offer); err != nil {
			t.Fatal(err)
		}
		if len(o.taken) == 0 {
			break
		}
		for i, w := range o.words {
			if o.taken[i] == "free" {
				w <- nil
			} else if i == 0 && round%30 == 29 {
				taken = append(taken, o.taken[i])
				w <- nil
			} else {
				w <- full
			}
		}
		if _, refused, _ := q.Take(q.InFlight().Wait(nil)); refused > 0 {
			t.Fatalf("round %d: %d are given up", round, refused)
		}
		q.Done()
	}
	slices.Sort(taken)
	slices.Sort(want)
	if !slices.Equal(taken, want) {
		t.Errorf("%q came", taken)
	}
}

// A message that is refused again and again does not block all others if only one may be under way.
func TestARefusedOneLetsOthersPass(t *testing.T) {
	for name, large := range map[string]bool{"a window of one": false, "a large one": true} {
		t.Run(name, func(t *testing.T) {
			var q mqttbridge.Queue
			o := &office{room: 1 << 20}
			l, window := outgoing("bad", "good", "good"), 1
			if large {
				l[0].Payload, window = make([]byte, mqttbridge.MaxInFlightBytes), 20
			}
			q.Push(1, l)
			sent, refused := 0, 0
			for range 100 {
				o.taken, o.words = nil, nil
				if _, _, err := q.Send(time.Now(), window, o.offer); err != nil {
					t.Fatal(err)
				}
				for i, w := range o.words {
					if o.taken[i] == "bad" {
						w <- &mqttclient.RefusedError{Code: 0x83}
					} else {
						w <- nil
					}
				}
				if len(o.words) == 0 {
					break
				}
				s, r, _ := q.Take(q.InFlight().Wait(nil))
				sent, refused = sent+s, refused+r
			}
			if sent != 2 || refused != 1 || q.Done() != 1 {
				t.Errorf("%d were sent, %d refused", sent, refused)
			}
		})
	}
}

// A message that is sent again behind others does not replace the newer retained message.
func TestTheNewestIsRetained(t *testing.T) {
	var q mqttbridge.Queue
	o := &office{room: 100}
	l := outgoing("s", "s", "s", "other")
	for i := range l {
		l[i].Retain, l[i].ContentType = true, fmt.Sprint(i)
	}
	kept := map[string]string{}
	offer := func(m mqttclient.Message) (<-chan error, error) {
		word, err := o.offer(m)
		if len(o.words) == 1 {
			o.words[0] <- &mqttclient.RefusedError{Code: 0x97}
		} else {
			kept[m.Topic] = m.ContentType
			o.words[len(o.words)-1] <- nil
		}
		return word, err
	}
	q.Push(1, l)
	sent := 0
	for range 10 {
		if _, _, err := q.Send(time.Now(), 20, offer); err != nil {
			t.Fatal(err)
		}
		if len(q.InFlight()) == 0 {
			break
		}
		n, _, _ := q.Take(q.InFlight().Wait(nil))
		sent += n
	}
	if kept["s"] != "2" || sent != 5 || q.Done() != 1 {
		t.Errorf("%v is kept, %d were sent: %q", kept, sent, o.taken)
	}
}
