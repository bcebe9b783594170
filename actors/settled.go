package actors

import (
	"sync"

	"google.golang.org/protobuf/proto"
)

// Settled is the answer to WhenSettled: the config has proved itself and will not be rolled back.
type Settled struct {
	Config proto.Message // the actor's config in it, whatever UpdateConfig has changed since; nil: it has none
}

// WhenSettled requests Settled, once, as soon as the config in force has settled; at once if it
// has. An actor must wait for it before it deletes something because the config no longer has it:
// until then the previous config may return.
func (c *Context) WhenSettled() { c.l.cell.sys.settling.wait(c.l) }

// Settle declares that the config in force has settled. says returns its config of the actor at a
// path, or nil if it has none. A nil says declares that the config has not settled and may be
// rolled back.
func (s *System) Settle(says func(path string) proto.Message) { s.settling.settle(says) }

type settling struct {
	mu    sync.Mutex
	says  func(path string) proto.Message
	lives map[string]*life // waiting lives by path; only the last life that has asked
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
