package access

import (
	"errors"
	"testing"
	"time"
)

// Who waits for the hash of his password while the policy changes is let in by the new one: nobody would look at him again.
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
	d.hashing.Lock() // somebody's hash is being made
	outcome := map[string]chan error{"anna": make(chan error, 1), "otto": make(chan error, 1)}
	for name, done := range outcome {
		go func() {
			_, err := d.Enter(Shown{Name: name, Password: []byte("x")}, time.Now())
			done <- err
		}()
	}
	for d.waiting.Load() < 2 {
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
