package access

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// A client that waits for the hash of its password while the policy changes is judged by the new
// one, since it would not be checked again.
func TestWhoWaitsIsJudgedByTheNewPolicy(t *testing.T) {
	policy := func(who ...Credentials) *Policy {
		p, err := New(nil, who, nil)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	hash := Hash([]byte("x"))
	d := NewDoor()
	d.Set(policy(Credentials{Name: "anna", Password: hash}, Credentials{Name: "otto", Password: hash}))
	d.hashing.Lock() // another hash is being computed
	outcome := map[string]chan error{"anna": make(chan error, 1), "otto": make(chan error, 1)}
	for name, done := range outcome {
		go func() {
			_, err := d.Authenticate(Presented{Name: name, Password: []byte("x")}, time.Now())
			done <- err
		}()
	}
	for !twoWait(d) {
		time.Sleep(time.Millisecond)
	}
	d.Set(policy(Credentials{Name: "otto", Password: hash}))
	d.hashing.Unlock()
	if err := <-outcome["anna"]; !errors.Is(err, ErrUnknown) {
		t.Errorf("who is nobody any more was let in: %v", err)
	}
	if err := <-outcome["otto"]; err != nil {
		t.Error(err)
	}
}

func twoWait(d *Door) bool {
	d.line.mu.Lock()
	defer d.line.mu.Unlock()
	return d.line.waiting == 2
}

// Clients that guess passwords, from however many places, do not keep others from being checked.
func TestGuessersLeaveRoom(t *testing.T) {
	var l line
	now := time.Now()
	join := func(remote string, at time.Time) bool { _, ok := l.join(placeOf(remote), at); return ok }
	guess := func(remote string) {
		leave, ok := l.join(placeOf(remote), now)
		if !ok {
			t.Fatalf("%s cannot even try once", remote)
		}
		leave(true)
	}
	count := func(remote string, at time.Time) (n int) {
		for join(remote, at) {
			n++
		}
		return n
	}
	guess("192.0.2.1:1000")
	guess("[2001:db8::1]:1000")
	if n := count("192.0.2.1:1001", now); n != maxGuesses {
		t.Errorf("%d wait from where somebody guesses", n)
	}
	if n := count("[2001:db8::2]:1", now); n != maxGuesses { // the same network
		t.Errorf("%d wait from a network where somebody guesses", n)
	}
	for i := range 20 {
		remote := fmt.Sprintf("198.51.100.%d:1", i)
		guess(remote)
		join(remote, now)
	}
	if l.guessers != maxGuessers {
		t.Errorf("%d guessers wait", l.guessers)
	}
	all := 0
	for i := range 100 {
		n := count(fmt.Sprintf("203.0.113.%d:1", i), now)
		if all += n; n > maxGuesses {
			t.Errorf("%d wait from one place", n)
		}
	}
	if all != maxWaiting-maxGuessers {
		t.Errorf("%d may wait who do not guess", all)
	}
}

// Wrong passwords are forgotten, and so are the places they came from.
func TestGuessesAreForgotten(t *testing.T) {
	var l line
	now := time.Now()
	for i := range 3 * maxPlaces {
		leave, _ := l.join(placeOf(fmt.Sprintf("10.%d.%d.1:1", i>>8, i&0xff)), now)
		leave(true)
	}
	if n := len(l.places); n > maxPlaces {
		t.Errorf("%d places are remembered", n)
	}
	leave, _ := l.join(placeOf("192.0.2.1:1"), now)
	leave(true)
	n, later := 0, time.Now().Add(remembered+time.Second)
	for ; n < maxWaiting; n++ {
		if _, ok := l.join(placeOf("192.0.2.1:1"), later); !ok {
			break
		}
	}
	if n != maxGuesses+maxGuessers { // of one place
		t.Errorf("%d may wait after a while", n)
	}
}
