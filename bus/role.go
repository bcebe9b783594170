package bus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// Roles of clients on the listener. The gateway's own connection has a third
// one, "actors", with all rights and a secret that lives as long as the Bus.
const (
	Observer = "observer" // reads data, events, states, traces and the catalogue
	Operator = "operator" // reads the same and sends commands
)

// identity is a key pair a client proves itself by.
type identity struct {
	role   string
	pair   nkeys.KeyPair
	public string
}

func newIdentity(role string) (identity, error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return identity{}, fmt.Errorf("key of %s: %w", role, err)
	}
	return withPublic(role, pair)
}

func withPublic(role string, pair nkeys.KeyPair) (identity, error) {
	public, err := pair.PublicKey()
	if err != nil {
		return identity{}, fmt.Errorf("key of %s: %w", role, err)
	}
	return identity{role: role, pair: pair, public: public}, nil
}

// loadIdentity reads the seed in dir/<role>.nk, or makes one there. An unreadable
// seed is set aside, and a key that cannot be stored is used all the same until the next start: a gateway
// nobody visits must come up. note says so.
func loadIdentity(dir, role string) (id identity, note string, err error) {
	path := filepath.Join(dir, role+".nk")
	if dir != "" {
		text, err := os.ReadFile(path)
		switch {
		case err == nil:
			if pair, err := nkeys.ParseDecoratedUserNKey(text); err == nil {
				id, err := withPublic(role, pair)
				return id, "", err
			}
			note = path + " was no user key and has been replaced"
			_ = os.Rename(path, path+".corrupt")
		case !errors.Is(err, fs.ErrNotExist):
			note = err.Error()
		}
	}
	if id, err = newIdentity(role); err != nil || dir == "" {
		return id, note, err
	}
	if err := storeSeed(path, id.pair); err != nil {
		note = fmt.Sprintf("key of %s lasts until the next start only: %v", role, err)
	}
	return id, note, nil
}

func storeSeed(path string, pair nkeys.KeyPair) error {
	seed, err := pair.Seed()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return writeDurably(path, append(seed, '\n'), 0o600)
}

// rights of a role on the listener.
//
// An observer may not create consumers: a push consumer delivers onto any
// subject, commands included. He reads kept states and events by direct get;
// what a direct get delivers carries headers by which Subscribe knows it from a
// command. Observers share the inbox prefix _INBOX, so that one may see what
// another has asked for; operators should use _OPS, which observers cannot subscribe to (Dial does).
func rights(role string) *server.Permissions {
	sub := []string{"gw.*.data.>", "gw.*.event.>", "gw.*.state.>", "gw.*.trace.>", inboxAny + ".>"}
	pub := []string{
		"$SRV.PING", "$SRV.PING.>", "$SRV.INFO", "$SRV.INFO.>", "$SRV.STATS", "$SRV.STATS.>",
		"$JS.API.DIRECT.GET." + streamState, "$JS.API.DIRECT.GET." + streamState + ".>",
		"$JS.API.DIRECT.GET." + streamEvents, "$JS.API.DIRECT.GET." + streamEvents + ".>",
	}
	if role == Operator {
		sub = append(sub, inboxOps+".>")
		pub = append(pub, "gw.*.cmd.>")
	}
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: pub},
		Subscribe: &server.SubjectPermission{Allow: sub},
	}
}

// writeDurably replaces path by a file with this content, synced, so that a
// power cut leaves either the old one or the new one.
func writeDurably(path string, content []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
