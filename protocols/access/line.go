package access

import (
	"net/netip"
	"sync"
	"time"
)

const (
	maxWaiting  = 64               // clients waiting for the hash of their password
	maxGuessers = 8                // of these, from places with recent wrong passwords, or with many waiting already
	maxGuesses  = 4                // of these, from one place
	remembered  = 10 * time.Second // how long a wrong password is remembered
	maxPlaces   = 1024
)

// line is the queue of clients waiting for the hash of their password. Clients that guess cannot
// fill it: there is always room for clients from elsewhere.
type line struct {
	mu       sync.Mutex
	waiting  int
	guessers int
	places   map[netip.Prefix]*place
}

// place is where clients come from: an IPv4 address, or an IPv6 network as assigned to one site.
type place struct {
	waiting int
	guesses time.Time // when its last wrong password is forgotten
}

func placeOf(remote string) netip.Prefix {
	a, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{} // this machine
	}
	addr, bits := a.Addr().Unmap(), 32
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // the address has that many bits
	return p
}

// join adds a client to the queue; ok is false if there is no room. The client must call leave.
func (l *line) join(at netip.Prefix, now time.Time) (leave func(wrong bool), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.place(at, now)
	many, guesser := p.waiting >= maxGuesses, now.Before(p.guesses)
	if l.waiting >= maxWaiting || (guesser || many) && l.guessers >= maxGuessers || guesser && many {
		return nil, false
	}
	guesser = guesser || many
	l.count(p, guesser, 1)
	return func(wrong bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.count(p, guesser, -1); wrong {
			p.guesses = time.Now().Add(remembered)
		}
	}, true
}

func (l *line) count(p *place, guesser bool, n int) {
	l.waiting += n
	p.waiting += n
	if guesser {
		l.guessers += n
	}
}

// place returns what is known about a place. The caller holds the lock.
func (l *line) place(at netip.Prefix, now time.Time) *place {
	if p := l.places[at]; p != nil {
		return p
	}
	if len(l.places) >= maxPlaces {
		l.forget(now)
	}
	if l.places == nil {
		l.places = map[netip.Prefix]*place{}
	}
	p := &place{}
	l.places[at] = p
	return p
}

// forget makes room by removing places where no client waits, first those without recent wrong
// passwords.
func (l *line) forget(now time.Time) {
	for at, p := range l.places {
		if p.waiting == 0 && !now.Before(p.guesses) {
			delete(l.places, at)
		}
	}
	for at, p := range l.places {
		if len(l.places) < maxPlaces {
			return
		}
		if p.waiting == 0 {
			delete(l.places, at)
		}
	}
}
