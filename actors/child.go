package actors

import (
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/protobuf/proto"

	"gatewayd/bus"
)

// Child is an actor that another one has spawned for something temporary, like the session of a
// client. Its supervision differs from that of other actors: when it fails it ends for good, and
// its parent receives Ended.
type Child struct{ cell *Cell }

// Ended tells a parent that a child has failed and is gone. The parent ends what the child stood
// for, e.g. closes the connection of the client.
type Ended struct {
	Child *Child
	Err   error
}

// Spawn starts an actor of kind k called <name>/<token>. about says, for display, what it stands
// for. The child lasts until Dismiss, until it fails or until this life ends.
func (c *Context) Spawn(token string, k *Kind, config proto.Message, about string) (*Child, error) {
	l := c.l
	if l.over() || l.ended {
		return nil, bus.Errorf(bus.Aborted, "this life of %s is over", l.cell.path)
	}
	s := l.cell.sys
	cell := &Cell{sys: s, path: l.cell.path + "/" + token, kind: k, meth: k.meth(), came: time.Since(s.epoch), about: about, parent: l, health: health{state: Gone}}
	cell.config.Store(&config)
	if err := s.add(cell); err != nil {
		return nil, bus.Errorf(bus.FailedPrecondition, "%s", err)
	}
	// One Props serves all children. They start one after the other, and each only once.
	if l.childProps == nil {
		l.childProps = s.Props(func() actor.Actor { return &life{cell: l.spawning} })
	}
	l.spawning = cell
	pid, err := l.pc.SpawnNamed(l.childProps, s.SpawnName(token))
	if err != nil {
		s.remove(cell)
		return nil, bus.Errorf(bus.Internal, "start %s: %s", cell.path, err)
	}
	cell.Bind(pid)
	child := &Child{cell}
	l.mu.Lock()
	if l.children == nil {
		l.children = map[string]*Child{}
	}
	l.children[pid.Id] = child
	l.mu.Unlock()
	return child, nil
}

// Dismiss ends a child once it has handled the messages in its mailbox. No Ended follows.
func (c *Context) Dismiss(child *Child) {
	if pid, mine := c.l.drop(child); mine {
		child.cell.Close("it has ended")
		c.l.pc.Poison(pid)
	}
}

// Path returns the child's name.
func (k *Child) Path() string { return k.cell.path }

// Post sends the child a message. Any goroutine may call it, and it never blocks. It returns an
// error if too many messages are waiting already or the child is gone.
func (k *Child) Post(msg any) error { return k.cell.admit(fromParent{msg}) }

// Tell sends the child a message however many are waiting already. The parent must limit their
// number.
func (k *Child) Tell(msg any) { k.cell.post(fromParent{msg}) }

type fromParent struct{ msg any }

func (m fromParent) deliver(l *life) { l.hand(m.msg, nil) }

// HandleFailure implements actor.SupervisorStrategy for children.
func (l *life) HandleFailure(_ *actor.ActorSystem, _ actor.Supervisor, pid *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	l.mu.Lock()
	child := l.children[pid.Id]
	l.mu.Unlock()
	if child != nil {
		child.cell.Close("it has failed")
		l.drop(child)
		err, ok := reason.(error)
		if !ok {
			err = errors.New("it panicked")
		}
		var f *Fault
		if errors.As(err, &f) && f.Stack != nil {
			l.cell.sys.Log.Error("an actor panicked", "actor", f.Path, "err", f.Err, "stack", string(f.Stack))
		}
		l.cell.post(&later{life: l, msg: Ended{child, err}})
	}
	l.pc.Stop(pid)
}

// drop removes a child that ends; mine is false if it is no child of this life.
func (l *life) drop(child *Child) (pid *actor.PID, mine bool) {
	pid = child.cell.PID()
	if pid == nil {
		return nil, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	mine = l.children[pid.Id] == child
	delete(l.children, pid.Id)
	return pid, mine
}

// dismiss ends all children of a life that ends.
func (l *life) dismiss() {
	l.mu.Lock()
	all := l.children
	l.children = nil
	l.mu.Unlock()
	for _, child := range all {
		child.cell.Close("its parent has ended")
		l.pc.Stop(child.cell.PID())
	}
}

// orphan ends the children of a life that was left behind. Any goroutine may call it.
func (l *life) orphan() {
	l.mu.Lock()
	all := l.children
	l.children = nil
	l.mu.Unlock()
	for _, child := range all {
		child.cell.Fence()
		child.cell.Remove()
		if pid := child.cell.PID(); pid != nil {
			l.cell.sys.runtime.Root.Stop(pid)
		}
	}
}
