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

// A Leaf makes the bus a leaf node of a NATS cluster, the hub. The hub has limited rights: it may
// subscribe to the classes in Subscribe, send the commands in Calls and source the tracks in
// Tracks. Nothing else passes, whatever the hub asks for, and messages travel only while somebody
// at the hub subscribes.
type Leaf struct {
	URLs        []string      // tls://hub:7422, or nats:// without TLS; one of them is used at a time
	Key         string        // nkey seed file; alternatively
	Credentials string        // JWT credentials file
	TLS         *tls.Config   // for tls://; nil: the system's certificate authorities
	Subscribe   []Class       // classes to which the hub may subscribe; none: data, event, state and track
	Calls       []string      // commands that the hub may send, as filters of topics, e.g. "cmd/field/#"; none: none
	Tracks      []string      // tracks that a stream of the hub may source, as filters of paths, e.g. "tracks/#"; none: none
	Reconnect   time.Duration // mean time between attempts to reach the hub; 2 s
}

// roleHub is the account of the hub. The caller identity of its commands is nats/hub.
const roleHub = "hub"

// reconnect is the mean time from the loss of the hub to the first attempt to reconnect, and
// between attempts.
const reconnect = 2 * time.Second

// patience bounds each step of connecting: links may have a delay of seconds, and so has a hub to
// which many gateways reconnect at once.
const patience = 10 * time.Second

// pace returns the time between attempts, from half to one and a half of the configured one. The
// server waits exactly this long after a loss, and all gateways lose a server of the hub at the
// same moment; therefore each gateway needs a different time.
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
	for _, c := range l.Subscribe {
		if !slices.Contains(visible[:], c) {
			return fmt.Errorf("leaf: messages of class %q are not visible to clients", c)
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

// LeafKey returns the public key of the seed in a file. It creates the file if it does not exist.
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

// call returns the subject of a filter of commands.
func (l *Leaf) call(gateway, filter string) (string, error) {
	if !strings.HasPrefix(filter, "cmd/") {
		return "", fmt.Errorf("leaf: %q is not a filter of commands like cmd/field/#", filter)
	}
	return Pattern(gateway, filter)
}

// options adds the settings that connect the server to the hub.
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

// Hub reports whether the bus is connected to its hub.
func (b *Bus) Hub() bool {
	s := b.server.get()
	return s != nil && s.NumLeafNodes() > 0
}
