package actors_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	actorv1 "gatewayd/schemas/actor/v1"
)

type spawnAs string

// nursery is a kind whose actors spawn and dismiss children of kind k on request, and report the
// children that have ended.
func nursery(k *actors.Kind, children map[string]*actors.Child, ended chan<- actors.Ended) actors.Kind {
	return scripted(func(c *actors.Context, msg any) error {
		switch m := msg.(type) {
		case spawnAs:
			child, err := c.Spawn(string(m), k, &structpb.Struct{}, "client "+string(m))
			if err != nil {
				c.Refuse(err)
				return nil
			}
			children[string(m)] = child
			c.Reply(child)
		case actors.Ended:
			ended <- m
		case tick:
			for _, child := range children {
				c.Dismiss(child)
			}
			c.Reply(result{})
		case do:
			return errTest
		}
		return nil
	})
}

// childish is a child that reports ok, answers, and fails on request.
func childish(stopped chan<- string) *actors.Kind {
	k := scripted(func(c *actors.Context, msg any) error {
		switch msg.(type) {
		case actors.Started:
			c.OK()
		case actors.Stopped:
			stopped <- c.Name()
		case tick:
			c.Reply(result{7})
		case do:
			panic("boom")
		}
		return nil
	})
	return &k
}

func ask(t *testing.T, r *actorstest.Rig, path string, msg any) (any, error) {
	t.Helper()
	type outcome struct {
		msg any
		err error
	}
	done := make(chan outcome, 1)
	r.System.Ask(path, msg, func(msg any, err error) { done <- outcome{msg, err} })
	o := actorstest.Next(t, done)
	return o.msg, o.err
}

func TestChildrenAreActors(t *testing.T) {
	r := actorstest.New(t)
	stopped, ended := make(chan string, 10), make(chan actors.Ended, 10)
	health := actorstest.Watch(r, "state/edge/broker/one/health", &actorv1.Health{})
	r.Start("edge/broker", nursery(childish(stopped), map[string]*actors.Child{}, ended), &structpb.Struct{})
	for _, name := range []string{"one", "two"} {
		if _, err := ask(t, r, "edge/broker", spawnAs(name)); err != nil {
			t.Fatal(err)
		}
	}
	if h := actorstest.Next(t, health); h.State != actors.OK || h.About != "client one" {
		t.Errorf("its first word is %v", h)
	}
	if _, err := ask(t, r, "edge/broker", spawnAs("one")); err == nil {
		t.Error("a name was given twice")
	}
	if v, err := ask(t, r, "edge/broker/two", tick{}); err != nil || v != (result{7}) {
		t.Errorf("asked, it said %v %v", v, err)
	}
	d, err := actorstest.Call(r, "edge/broker/one", "Describe", &actorv1.DescribeRequest{}, &actorv1.DescribeResponse{})
	if err != nil || d.Health.About != "client one" {
		t.Errorf("described: %v %v", d, err)
	}
	if _, err := actorstest.Call(r, "edge/broker/one", "Restart", &actorv1.RestartRequest{}, &actorv1.RestartResponse{}); err == nil {
		t.Error("nobody could have restarted it")
	}
	// A child that fails is removed and does not affect others.
	if _, err := ask(t, r, "edge/broker/one", do{}); err == nil {
		t.Error("it did not fail")
	}
	if e := actorstest.Next(t, ended); e.Child.Path() != "edge/broker/one" || e.Err == nil {
		t.Errorf("ended: %+v", e)
	}
	r.Until("the failed one is gone", func() bool { return r.System.Lookup("edge/broker/one") == nil })
	if name := actorstest.Next(t, stopped); name != "edge/broker/one" {
		t.Errorf("%s has stopped", name)
	}
	if _, err := ask(t, r, "edge/broker/two", tick{}); err != nil {
		t.Errorf("its sibling: %v", err)
	}
	r.Until("its last word is taken back", func() bool {
		for len(health) > 0 {
			if h := <-health; h.State == "" {
				return true
			}
		}
		return false
	})
	// The name is free again.
	if _, err := ask(t, r, "edge/broker", spawnAs("one")); err != nil {
		t.Error(err)
	}
	if _, err := ask(t, r, "edge/broker", tick{}); err != nil {
		t.Fatal(err)
	}
	r.Until("all are gone", func() bool { return len(r.System.Paths()) == 1 })
	if len(ended) != 0 {
		t.Error("one that was dismissed is said to have failed")
	}
}

// Messages that a client has sent before it went are not lost with its session.
func TestADismissedChildDoesWhatItWasHanded(t *testing.T) {
	r := actorstest.New(t)
	busy, release, did := make(chan struct{}), make(chan struct{}), make(chan string, 10)
	k := scripted(func(_ *actors.Context, msg any) error {
		switch msg.(type) {
		case do:
			close(busy)
			<-release
		case tick:
			did <- "work"
		case actors.Stopped:
			did <- "stopped"
		}
		return nil
	})
	children := map[string]*actors.Child{}
	r.Start("edge/broker", nursery(&k, children, nil), &structpb.Struct{})
	if _, err := ask(t, r, "edge/broker", spawnAs("one")); err != nil {
		t.Fatal(err)
	}
	one := children["one"]
	for _, msg := range []any{do{}, tick{}, tick{}} {
		if err := one.Post(msg); err != nil {
			t.Fatal(err)
		}
	}
	<-busy
	if _, err := ask(t, r, "edge/broker", tick{}); err != nil {
		t.Fatal(err)
	}
	if one.Post(tick{}) == nil {
		t.Error("one that is dismissed takes more")
	}
	close(release)
	for _, want := range []string{"work", "work", "stopped"} {
		if got := actorstest.Next(t, did); got != want {
			t.Errorf("it did %q, want %q", got, want)
		}
	}
}

func TestChildrenEndWithTheirParent(t *testing.T) {
	r := actorstest.New(t)
	stopped, ended := make(chan string, 10), make(chan actors.Ended, 10)
	children := map[string]*actors.Child{}
	cell := r.Start("edge/broker", nursery(childish(stopped), children, ended), &structpb.Struct{})
	spawn := func() {
		for _, name := range []string{"one", "two"} {
			if _, err := ask(t, r, "edge/broker", spawnAs(name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for how, end := range map[string]func(){
		"a failure": func() { _, _ = ask(t, r, "edge/broker", do{}) },
		"its end": func() {
			r.Stop(cell)
			r.Spawn(cell)
		},
		"being left behind": func() {
			cell.Fence()
			r.System.Runtime().Root.Stop(cell.PID())
			r.Spawn(cell)
		},
	} {
		spawn()
		one, life := children["one"], cell.Life()
		end()
		r.Until("a new life after "+how, func() bool { return cell.Life() > life && cell.State() == actors.Starting })
		r.Until("nobody is left by "+how, func() bool { return len(r.System.Paths()) == 1 })
		if err := one.Post(tick{}); err == nil {
			t.Errorf("after %s somebody is there", how)
		}
	}
}

// Those who wait at a Gate are admitted as soon as there is room.
func TestGateAskWaitsForRoom(t *testing.T) {
	r := actorstest.New(t)
	gates := make(chan actors.Gate, 1)
	hold, held := make(chan struct{}), make(chan struct{})
	k := scripted(func(c *actors.Context, msg any) error {
		switch msg.(type) {
		case actors.Started:
			gates <- c.Gate()
		case do:
			close(held)
			<-hold
		case tick:
			c.Reply(result{1})
		}
		return nil
	})
	k.Limit = 4
	cell := r.Start("edge/door", k, &structpb.Struct{})
	gate := actorstest.Next(t, gates)
	r.System.Ask("edge/door", do{}, func(any, error) {})
	<-held
	answers := make(chan any, 20)
	for range cap(answers) {
		go func() {
			v, err := gate.Ask(context.Background(), tick{})
			if err != nil {
				v = err
			}
			answers <- v
		}()
	}
	r.Until("it is full", func() bool { return cell.Counters().Waiting >= 4 })
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := gate.Ask(ctx, tick{}); err == nil {
		t.Error("there was room for one who waits no longer")
	}
	close(hold)
	for range cap(answers) {
		if v := actorstest.Next(t, answers); v != (result{1}) {
			t.Errorf("answered %v", v)
		}
	}
	r.Stop(cell)
	if _, err := gate.Ask(context.Background(), tick{}); err == nil {
		t.Error("a life that is over has answered")
	}
}

// A child that hung, and whose name another one has by the time it ends, takes nothing of that one
// along.
func TestAChildThatEndsLate(t *testing.T) {
	virtual(t, func(t *testing.T, r rig) {
		hang := make(chan struct{})
		k := scripted(func(c *actors.Context, msg any) error {
			switch msg.(type) {
			case actors.Started:
				c.SetAuthorizer(func(actors.Caller, string, bool) error { return errTest })
			case tick:
				<-hang
			}
			return nil
		})
		parent := r.Start(path, nursery(&k, map[string]*actors.Child{}, nil), &structpb.Struct{})
		child := r.ask(spawnAs("one")).msg.(*actors.Child)
		child.Tell(tick{})
		pass(0)
		parent.Fence()
		r.Spawn(parent)
		if a := r.ask(spawnAs("one")); a.err != nil {
			t.Fatal(a.err)
		}
		judged := func() bool {
			_, err := r.System.Call(t.Context(), path, "Describe", &actorv1.DescribeRequest{})
			return errors.Is(err, errTest)
		}
		if !judged() {
			t.Error("the new one does not judge")
		}
		close(hang)
		pass(time.Second)
		if !judged() {
			t.Error("the new one does not judge any more")
		}
	})
}
