package bus

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// A Leaf makes the bus a leaf node of a NATS cluster, the hub. The hub is a guest: it hears what it may hear of this gateway, as long as
// somebody there listens, calls what it may call, and nothing else passes, whatever the hub asks for.
type Leaf struct {
	URLs        []string      // tls://hub:7422, or nats:// without TLS; one of them is used at a time
	Key         string        // nkey seed file; or
	Credentials string        // file of a JWT and its key
	TLS         *tls.Config   // for tls://; nil: the system's authorities
	Hears       []Class       // what the hub may hear; none: data, events, states and tracks
	Calls       []string      // commands that it may send, as filters of topics, e.g. "cmd/field/#"; none: none
	Tracks      []string      // tracks that a stream there may source, as filters of paths, e.g. "tracks/#"; none: none
	Reconnect   time.Duration // about how long from one attempt to reach the hub to the next; 2 s
}

// roleHub is the account of the hub. Its commands come from nats/hub.
const roleHub = "hub"

// reconnect is how long it is, at about, from the loss of the hub to the first attempt to reach it again, and from one attempt to the next.
const reconnect = 2 * time.Second

// patience is how long each step of connecting may take: links of seconds are slow, and hubs that many gateways come back to at once are.
const patience = 10 * time.Second

// pace is how long this gateway waits between attempts, from half to one and a half of what is wanted. The server waits exactly so long after
// a loss, and all gateways lose a server of the hub at the same moment: each has to have its own.
func (l *Leaf) pace() time.Duration {
	d := cmp.Or(l.Reconnect, reconnect)
	return d/2 + rand.N(d)
}

func (l *Leaf) check(gateway string) error {
	if len(l.URLs) == 0 {
		return errors.New("leaf: a URL of the hub is needed")
	}
	for _, u := range l.URLs {
		p, err := url.Parse(u)
		if err != nil || p.Host == "" || p.Scheme != "tls" && p.Scheme != "nats" {
			return fmt.Errorf("leaf: %q is not tls://host:port", u)
		}
		if p.Scheme == "nats" && l.TLS != nil {
			return fmt.Errorf("leaf: %s has no TLS, but certificates are given", u)
		}
	}
	if l.Key != "" && l.Credentials != "" {
		return errors.New("leaf: give a key or credentials, not both")
	}
	for _, topic := range l.Calls {
		if _, err := l.call(gateway, topic); err != nil {
			return err
		}
	}
	if _, err := l.sourced(gateway); err != nil {
		return err
	}
	for _, c := range l.Hears {
		if !slices.Contains(visible[:], c) {
			return fmt.Errorf("leaf: nobody outside hears %q", c)
		}
	}
	return nil
}

func readSeed(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	pair, err := nkeys.ParseDecoratedUserNKey(text)
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	seed, err := pair.Seed()
	return string(seed), err
}

// LeafKey is the public key of the seed in a file, which is made if it is not there.
func LeafKey(file string) (public string, err error) {
	seed, err := readSeed(file)
	if errors.Is(err, fs.ErrNotExist) {
		var id identity
		if id, err = newIdentity(roleHub); err == nil {
			err = storeSeed(file, id.pair)
		}
		return id.public, err
	}
	if err != nil {
		return "", err
	}
	pair, err := nkeys.FromSeed([]byte(seed))
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	return pair.PublicKey()
}

// call is the subject of commands of a filter.
func (l *Leaf) call(gateway, filter string) (string, error) {
	if !strings.HasPrefix(filter, "cmd/") {
		return "", fmt.Errorf("leaf: %q is no filter of commands like cmd/field/#", filter)
	}
	return Pattern(gateway, filter)
}

// options adds what makes the server connect to the hub.
func (l *Leaf) options(o *server.Options) error {
	r := &server.RemoteLeafOpts{LocalAccount: roleHub, Credentials: l.Credentials, TLSConfig: l.TLS}
	if l.Key != "" {
		seed, err := readSeed(l.Key)
		if err != nil {
			return fmt.Errorf("leaf: key: %w", err)
		}
		r.Nkey = seed
	}
	for _, text := range l.URLs {
		u, err := url.Parse(text)
		if err != nil {
			return fmt.Errorf("leaf: %w", err)
		}
		if u.Scheme == "tls" {
			r.TLS = true
			if r.TLSConfig == nil {
				r.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
			}
		}
		r.URLs = append(r.URLs, u)
	}
	o.Accounts = append(o.Accounts, server.NewAccount(roleHub))
	o.LeafNode.ReconnectInterval = l.pace()
	o.LeafNode.TLSTimeout = patience.Seconds()
	r.DialTimeout, r.TLSTimeout, r.FirstInfoTimeout = patience, patience.Seconds(), patience
	o.LeafNode.Remotes = []*server.RemoteLeafOpts{r}
	return nil
}

// Hub says whether the bus is connected to its hub.
func (b *Bus) Hub() bool {
	s := b.server.get()
	return s != nil && s.NumLeafNodes() > 0
}
