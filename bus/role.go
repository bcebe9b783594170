package bus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"gatewayd/protocols/durable"
)

// Roles of clients of the listener. The gateway's own connection has a third role, "actors", with
// all rights and a secret that lives as long as the Bus.
const (
	Observer = "observer" // reads data, events, states, traces, tracks and the catalogue
	Operator = "operator" // reads the same and sends commands
)

// identity is a key pair by which a client authenticates.
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

// loadIdentity reads the seed in dir/<role>.nk, or creates one there. An unreadable seed is renamed
// to <role>.nk.corrupt. A key that cannot be stored is used until the next start: an unattended
// gateway must come up. note reports either case.
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
			note = path + " was not a user key and has been replaced"
			_ = os.Rename(path, path+".corrupt")
		case !errors.Is(err, fs.ErrNotExist):
			note = err.Error()
		}
	}
	if id, err = newIdentity(role); err != nil || dir == "" {
		return id, note, err
	}
	if err := storeSeed(path, id.pair); err != nil {
		note = fmt.Sprintf("key of %s is valid only until the next start: %v", role, err)
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
	return durable.Write(path, append(seed, '\n'), 0o600)
}

// visible are the classes to which an outside role may subscribe.
var visible = [...]Class{Data, Event, State, Trace, Track}

// readable is the part of the JetStream API that only reads stored messages.
var readable = [...]string{
	"$JS.API.DIRECT.GET." + streamState, "$JS.API.DIRECT.GET." + streamState + ".>",
	"$JS.API.DIRECT.GET." + streamEvents, "$JS.API.DIRECT.GET." + streamEvents + ".>",
}

// discovery are the subjects of the service catalogue.
var discovery = [...]string{"$SRV.PING", "$SRV.PING.>", "$SRV.INFO", "$SRV.INFO.>", "$SRV.STATS", "$SRV.STATS.>"}

const commands = "gw.*.cmd.>"

// requests returns the subjects to which a role may send requests.
func requests(role string) []string {
	all := append(append([]string(nil), readable[:]...), discovery[:]...)
	if role == Operator {
		all = append(all, commands)
	}
	return all
}

// rights returns the permissions of a role within its account. Only requests leave the account
// anyway; the permissions keep clients from publishing to each other what only the gateway may
// publish.
func rights(role string) *server.Permissions {
	sub := []string{inboxAny + ".>"}
	for _, c := range visible {
		sub = append(sub, "gw.*."+string(c)+".>")
	}
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: requests(role)},
		Subscribe: &server.SubjectPermission{Allow: sub},
	}
}

// exports lets other accounts import everything that any of them may use.
//
// The server forgets the route of an answer after two minutes without traffic on a command; the
// renewals of a stream of answers keep it alive.
func exports(gateway *server.Account) error {
	var errs []error
	for _, c := range visible {
		errs = append(errs, gateway.AddStreamExport("gw.*."+string(c)+".>", nil))
	}
	for _, subject := range requests(Operator) {
		errs = append(errs, gateway.AddServiceExportWithResponse(subject, server.Streamed, nil))
		if subject != commands {
			errs = append(errs, gateway.SetServiceExportResponseThreshold(subject, flushTimeout))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("accounts: %w", err)
	}
	return nil
}

// imports gives an account access to the gateway's exports.
func imports(acc, gateway *server.Account) error {
	var errs []error
	for _, c := range visible {
		errs = append(errs, acc.AddStreamImport(gateway, "gw.*."+string(c)+".>", ""))
	}
	for _, subject := range requests(Operator) {
		errs = append(errs, acc.AddServiceImport(gateway, subject, subject))
	}
	return errors.Join(errs...)
}

// NewKey creates a user key. It stores the seed in a new file that only its owner may read, and
// returns the public key.
func NewKey(file string) (public string, err error) {
	id, err := newIdentity("")
	if err != nil {
		return "", err
	}
	if _, err := os.Lstat(file); err == nil {
		return "", fmt.Errorf("%s already exists", file)
	}
	return id.public, storeSeed(file, id.pair)
}
