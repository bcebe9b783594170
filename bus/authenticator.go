package bus

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// authenticator admits clients to one server: the gateway's own connections, the holders of the
// keys in the key directory, and the guests that the guard accepts.
//
// Each role and each guest has its own account, not just a set of permissions, because a request
// carries a reply subject of the client's choice. With permissions alone an observer could have the
// server's answer to a direct get delivered to a command, or to $JS.API.STREAM.DELETE, with the
// server's rights. Across accounts an answer only ever reaches the account that asked. Accounts
// also keep inboxes apart: no client receives the answers of another account.
type authenticator struct {
	cfg Config
	ids []identity
	log *slog.Logger
	srv *server.Server

	former map[uint64]Guest // guests of the previous server, some of whose messages may still be queued here

	mu       sync.Mutex
	accounts map[string]*server.Account
	// By the server's connection id. Includes some that have disconnected, because their messages
	// may still be queued.
	guests map[uint64]Guest
	cut    map[uint64]bool // connections that Review has ended
	judged map[uint64]bool // connections whose refusal has been reported and about which the server is going to log
}

// Check implements server.Authentication.
func (e *authenticator) Check(c server.ClientAuthentication) bool {
	err := e.admit(c)
	if err != nil {
		e.log.Debug("client refused", "remote", remote(c), "err", err)
		e.refused(c, err)
	}
	return err == nil
}

func remote(c server.ClientAuthentication) string {
	if a := c.RemoteAddress(); a != nil {
		return a.String()
	}
	return "this process"
}

var errNobody = errors.New("the credentials match no identity")

func (e *authenticator) admit(c server.ClientAuthentication) error {
	shown, err := presentedBy(c)
	if err != nil {
		return err
	}
	for _, id := range e.ids {
		switch {
		case shown.Key != id.public:
		case id.role == roleActors:
			c.RegisterUser(&server.User{Username: id.role, Account: e.srv.GlobalAccount()})
			return nil
		case e.cfg.Guard == nil || local(c):
			return e.enter(c, id.role)
		}
	}
	if e.cfg.Guard == nil {
		if e.cfg.Anonymous == "" || shown.Key != "" || shown.Name != "" || shown.Token != "" {
			return errNobody
		}
		return e.enter(c, e.cfg.Anonymous)
	}
	g, err := e.cfg.Guard(shown)
	if err != nil {
		return err
	}
	e.note(c.GetID(), g)
	user := &server.User{Username: g.Name, Permissions: g.permissions(), ConnectionDeadline: g.Expires}
	if user.Account, err = e.account(accountUser + g.Name); err != nil {
		return err
	}
	c.RegisterUser(user)
	return nil
}

// local reports whether c comes from this machine.
func local(c server.ClientAuthentication) bool {
	a, ok := c.RemoteAddress().(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}

func (e *authenticator) enter(c server.ClientAuthentication, role string) error {
	acc, err := e.account(role)
	if err == nil {
		c.RegisterUser(&server.User{Username: role, Permissions: rights(role), Account: acc})
	}
	return err
}

// presentedBy returns the credentials of a client; a key only if the client has signed with it.
func presentedBy(c server.ClientAuthentication) (Presented, error) {
	o := c.GetOpts()
	s := Presented{Name: o.Username, Password: []byte(o.Password), Token: o.Token, Remote: remote(c)}
	if state := c.GetTLSConnectionState(); state != nil {
		s.Certificate = verified(state)
	}
	if o.Nkey == "" {
		return s, nil
	}
	key, err := nkeys.FromPublicKey(o.Nkey)
	if err != nil {
		return s, fmt.Errorf("key: %w", err)
	}
	sig, err := base64.RawURLEncoding.DecodeString(o.Sig)
	if err != nil {
		sig, err = base64.StdEncoding.DecodeString(o.Sig) // some clients use this encoding
	}
	if err != nil {
		return s, fmt.Errorf("signature: %w", err)
	}
	if err := key.Verify(c.GetNonce(), sig); err != nil {
		return s, fmt.Errorf("key: %w", err)
	}
	s.Key = o.Nkey
	return s, nil
}

// verified returns the client certificate if TLS has verified its chain.
func verified(state *tls.ConnectionState) *x509.Certificate {
	if len(state.VerifiedChains) == 0 {
		return nil
	}
	return state.PeerCertificates[0]
}

// account returns or creates the named account, which imports the gateway's classes and may send
// requests to it. The permissions of each client restrict what it may use.
func (e *authenticator) account(name string) (*server.Account, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if a, ok := e.accounts[name]; ok {
		return a, nil
	}
	a, _ := e.srv.LookupOrRegisterAccount(name)
	if err := imports(a, e.srv.GlobalAccount()); err != nil {
		return nil, fmt.Errorf("account of %s: %w", name, err)
	}
	// Without sharing, the server reports only the account of a request, not its connection.
	if strings.HasPrefix(name, accountUser) {
		if err := a.SetServiceImportSharing(e.srv.GlobalAccount(), commands, true); err != nil {
			return nil, fmt.Errorf("account of %s: %w", name, err)
		}
	}
	e.accounts[name] = a
	return a, nil
}

// note records an admitted guest, and forgets disconnected guests when there are many.
func (e *authenticator) note(id uint64, g Guest) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.guests) >= 2*maxClients {
		for id := range e.guests {
			if e.srv.GetClient(id) == nil {
				delete(e.guests, id)
				delete(e.cut, id)
			}
		}
	}
	g.came = time.Now().Round(0) // without the monotonic reading, comparable with the server's wall-clock times
	e.guests[id] = g
}

// guestOf returns what the guard has noted of the guest that sent a message; nil: the guest is no
// longer known.
func (b *Bus) guestOf(from sender) any {
	b.mu.Lock()
	e := b.auth
	b.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	var is Guest
	for _, all := range [...]map[uint64]Guest{e.guests, e.former} { // ids start again with each server
		g, ok := all[from.ID]
		if !ok || accountUser+g.Name != from.Account || g.came.Before(from.Start) {
			continue
		}
		// The first guest admitted after the connection began. This also holds if the clock has
		// been set since the server started.
		if is.came.IsZero() || g.came.Before(is.came) {
			is = g
		}
	}
	return is.Of
}

// newAuthenticator returns the authenticator of a server that is about to start.
func (b *Bus) newAuthenticator(cfg Config) *authenticator {
	e := &authenticator{
		cfg: cfg, ids: b.ids, log: b.log,
		accounts: map[string]*server.Account{}, guests: map[uint64]Guest{}, cut: map[uint64]bool{}, judged: map[uint64]bool{},
	}
	b.mu.Lock()
	was := b.auth
	b.mu.Unlock()
	if was == nil {
		return e
	}
	was.mu.Lock()
	defer was.mu.Unlock()
	if e.former = was.guests; len(e.former) == 0 { // the previous server was only started for a repair
		e.former = was.former
	}
	e.former = maps.Clone(e.former)
	return e
}

// Cut reports the connections of one guest that Review has ended, and why.
type Cut struct {
	Name        string
	Connections int
	Cause       error
}

var errChanged = errors.New("its permissions have changed")

// Review ends the connections of all guests that are no longer admitted, and of those whose
// permissions have changed, who have to reconnect. still returns the current state of a guest.
func (b *Bus) Review(still func(Guest) (Guest, error)) []Cut {
	b.mu.Lock()
	e := b.auth
	b.mu.Unlock()
	cuts := map[string]*Cut{}
	e.mu.Lock()
	guests := maps.Clone(e.guests)
	maps.DeleteFunc(guests, func(id uint64, _ Guest) bool { return e.cut[id] })
	e.mu.Unlock()
	// Without the lock: the server calls the authenticator while it admits and while it disconnects
	// clients.
	for id, g := range guests {
		is, err := still(g)
		if err == nil && is.same(g) {
			continue
		}
		e.mu.Lock()
		e.cut[id] = true
		e.mu.Unlock()
		if e.srv.DisconnectClientByID(id) != nil {
			continue // the client has disconnected by itself
		}
		if err == nil {
			err = errChanged
		}
		if cuts[g.Name] == nil {
			cuts[g.Name] = &Cut{Name: g.Name, Cause: err}
		}
		cuts[g.Name].Connections++
	}
	var all []Cut
	for _, c := range cuts {
		all = append(all, *c)
	}
	slices.SortFunc(all, func(a, b Cut) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
