package actors

import (
	"sync"

	"google.golang.org/protobuf/proto"
)

// Settled is what WhenSettled asks for: the config has proved itself and goes back to no other.
type Settled struct {
	Config proto.Message // what it says of the actor, whatever UpdateConfig has changed since; nil: nothing
}

// WhenSettled has Settled come once, as soon as the config in force has settled; at once if it has. Whoever forgets something because the config
// does not have it any more waits for that: until then the one before may come back.
func (c *Context) WhenSettled() { c.l.cell.sys.settling.wait(c.l) }

// Settle says what the config in force says of the actor at a path, now that it has settled: nil if nothing. With a nil function it has not: it may go
// back to another.
func (s *System) Settle(says func(path string) proto.Message) { s.settling.settle(says) }

type settling struct {
	mu    sync.Mutex
	says  func(path string) proto.Message
	lives map[string]*life // who waits, by path: the last life that has asked
}

func (s *settling) wait(l *life) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.says != nil {
		s.tell(l)
		return
	}
	if s.lives == nil {
		s.lives = map[string]*life{}
	}
	s.lives[l.cell.path] = l
}

func (s *settling) settle(says func(path string) proto.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.says = says; says == nil {
		return
	}
	for _, l := range s.lives {
		s.tell(l)
	}
	clear(s.lives)
}

func (s *settling) tell(l *life) {
	l.cell.post(&later{life: l, msg: Settled{s.says(l.cell.path)}})
}
