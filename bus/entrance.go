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

// entrance lets clients into one server: the gateway's own connections, the
// holders of the keys in the key directory, and whom the guard knows.
//
// Each of them has an account of its own, not just a set of permissions,
// because a request carries a reply subject of the client's choice: with
// permissions alone a mere reader has the server's answer to a direct get
// delivered onto a command, or onto $JS.API.STREAM.DELETE, with the server's
// rights. Across accounts an answer only ever reaches the account that asked.
// It also keeps inboxes apart: nobody hears what another one is told.
type entrance struct {
	cfg Config
	ids []identity
	log *slog.Logger
	srv *server.Server

	former map[uint64]Guest // of the server before, some of whose messages may still be waiting here

	mu       sync.Mutex
	accounts map[string]*server.Account
	guests   map[uint64]Guest // by the server's number of their connection; also of some who have gone, of whom something may still be on its way
	cut      map[uint64]bool  // those whose connections Review has ended
	judged   map[uint64]bool  // connections whose refusal was told, and which the server is about to complain of
}

// Check implements server.Authentication.
func (e *entrance) Check(c server.ClientAuthentication) bool {
	err := e.admit(c)
	if err != nil {
		e.log.Debug("not let in", "remote", remote(c), "err", err)
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

var errNobody = errors.New("no credentials that anybody here has")

func (e *entrance) admit(c server.ClientAuthentication) error {
	shown, err := shownBy(c)
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

// local tells whether c comes from this machine.
func local(c server.ClientAuthentication) bool {
	a, ok := c.RemoteAddress().(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}

func (e *entrance) enter(c server.ClientAuthentication, role string) error {
	acc, err := e.account(role)
	if err == nil {
		c.RegisterUser(&server.User{Username: role, Permissions: rights(role), Account: acc})
	}
	return err
}

// shownBy is what a client shows; a key only if he has signed with it.
func shownBy(c server.ClientAuthentication) (Shown, error) {
	o := c.GetOpts()
	s := Shown{Name: o.Username, Password: []byte(o.Password), Token: o.Token, Remote: remote(c)}
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
		sig, err = base64.StdEncoding.DecodeString(o.Sig) // some clients do so
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

// verified is the certificate of a client that TLS has traced to an authority.
func verified(state *tls.ConnectionState) *x509.Certificate {
	if len(state.VerifiedChains) == 0 {
		return nil
	}
	return state.PeerCertificates[0]
}

// account finds or makes the account of somebody, which sees the gateway's
// classes and may send requests to it. What of that he may use is a matter of his permissions.
func (e *entrance) account(name string) (*server.Account, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if a, ok := e.accounts[name]; ok {
		return a, nil
	}
	a, _ := e.srv.LookupOrRegisterAccount(name)
	if err := imports(a, e.srv.GlobalAccount()); err != nil {
		return nil, fmt.Errorf("account of %s: %w", name, err)
	}
	if strings.HasPrefix(name, accountUser) { // else the server tells the account alone, and not by which connection it came
		if err := a.SetServiceImportSharing(e.srv.GlobalAccount(), commands, true); err != nil {
			return nil, fmt.Errorf("account of %s: %w", name, err)
		}
	}
	e.accounts[name] = a
	return a, nil
}

// note keeps who came in, and forgets who has gone when there are many.
func (e *entrance) note(id uint64, g Guest) {
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
	g.came = time.Now().Round(0) // as the server tells it: by the clock
	e.guests[id] = g
}

// guestOf is what the guard has noted of the guest who has sent something; nil: he is not known any more.
func (b *Bus) guestOf(from sender) any {
	b.mu.Lock()
	e := b.entrance
	b.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	var is Guest
	for _, all := range [...]map[uint64]Guest{e.guests, e.former} { // the numbers begin anew with each server
		g, ok := all[from.ID]
		if !ok || accountUser+g.Name != from.Account || g.came.Before(from.Start) {
			continue
		}
		if is.came.IsZero() || g.came.Before(is.came) { // the first to be let in after that connection began, also where the clock has been set since the server started
			is = g
		}
	}
	return is.Of
}

// newEntrance is that of a server that is about to start.
func (b *Bus) newEntrance(cfg Config) *entrance {
	e := &entrance{
		cfg: cfg, ids: b.ids, log: b.log,
		accounts: map[string]*server.Account{}, guests: map[uint64]Guest{}, cut: map[uint64]bool{}, judged: map[uint64]bool{},
	}
	b.mu.Lock()
	was := b.entrance
	b.mu.Unlock()
	if was == nil {
		return e
	}
	was.mu.Lock()
	defer was.mu.Unlock()
	if e.former = was.guests; len(e.former) == 0 { // a server that was started to be repaired
		e.former = was.former
	}
	e.former = maps.Clone(e.former)
	return e
}

// Cut says whose connections Review has ended, and why.
type Cut struct {
	Name        string
	Connections int
	Cause       error
}

var errChanged = errors.New("it may use something else now")

// Review ends the connections of all guests who may no longer come in, and of
// those who may use something else than when they came, who are to come again. still says
// who a guest is now.
func (b *Bus) Review(still func(Guest) (Guest, error)) []Cut {
	b.mu.Lock()
	e := b.entrance
	b.mu.Unlock()
	cuts := map[string]*Cut{}
	e.mu.Lock()
	guests := maps.Clone(e.guests)
	maps.DeleteFunc(guests, func(id uint64, _ Guest) bool { return e.cut[id] })
	e.mu.Unlock()
	for id, g := range guests { // without the lock: the server tells of its clients while it lets them in and while it ends them
		is, err := still(g)
		if err == nil && is.same(g) {
			continue
		}
		e.mu.Lock()
		e.cut[id] = true
		e.mu.Unlock()
		if e.srv.DisconnectClientByID(id) != nil {
			continue // has gone by himself
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
