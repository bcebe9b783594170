package access

import (
	"net/netip"
	"sync"
	"time"
)

const (
	mostWaiting  = 64               // clients that wait for the hash of their password
	mostGuessers = 8                // of these from where wrong ones came, or where many wait already
	mostGuesses  = 4                // of these from one place
	remembered   = 10 * time.Second // is a wrong one
	mostPlaces   = 1024
)

// line is who waits for the hash of his password. Whoever guesses cannot fill it: there is room for who comes from elsewhere.
type line struct {
	mu       sync.Mutex
	waiting  int
	guessers int
	places   map[netip.Prefix]*place
}

// place is where clients come from: an address, or with IPv6 the network that one site has.
type place struct {
	waiting int
	guesses time.Time // when its last wrong password is forgotten
}

func placeOf(remote string) netip.Prefix {
	a, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{} // of this machine
	}
	addr, bits := a.Addr().Unmap(), 32
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // as many as there are
	return p
}

// join is false if there is no room; else whoever joined leaves.
func (l *line) join(at netip.Prefix, now time.Time) (leave func(wrong bool), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.place(at, now)
	many, guesser := p.waiting >= mostGuesses, now.Before(p.guesses)
	if l.waiting >= mostWaiting || (guesser || many) && l.guessers >= mostGuessers || guesser && many {
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

// place is what is known of one. The caller holds the lock.
func (l *line) place(at netip.Prefix, now time.Time) *place {
	if p := l.places[at]; p != nil {
		return p
	}
	if len(l.places) >= mostPlaces {
		l.forget(now)
	}
	if l.places == nil {
		l.places = map[netip.Prefix]*place{}
	}
	p := &place{}
	l.places[at] = p
	return p
}

// forget makes room: of those that nobody waits at, first of those that have not guessed lately.
func (l *line) forget(now time.Time) {
	for at, p := range l.places {
		if p.waiting == 0 && !now.Before(p.guesses) {
			delete(l.places, at)
		}
	}
	for at, p := range l.places {
		if len(l.places) < mostPlaces {
			return
		}
		if p.waiting == 0 {
			delete(l.places, at)
		}
	}
}
