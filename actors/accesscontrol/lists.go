package accesscontrol

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/protocols/access"
	accessv1 "gatewayd/schemas/access/v1"
)

const (
	// Interval between checks of the files, so that a certificate on a list is cut off within a
	// second.
	listsEvery = time.Second / 2
	listsTime  = 10 * time.Second
	maxList    = 4 << 20 // bytes per file
)

type (
	listsDue  struct{}
	listsRead struct {
		lists       *access.CRLs // nil: as before
		authorities []*x509.Certificate
		seen        []stamp
		of          *accessv1.Revocation
	}
)

// stamp identifies a version of a file.
type stamp struct {
	modified time.Time
	size     int64
}

// look reads the lists if their files have changed.
func (k *keeper) look(c *actors.Context) {
	r, seen, before := k.cfg.Revocation, k.seen, cmp.Or(k.lists, k.former)
	if r == nil || k.looking {
		return
	}
	k.looking = true
	c.Do(listsTime, func(context.Context) (any, error) {
		now := stamps(r)
		if slices.Equal(now, seen) {
			return listsRead{of: r}, nil
		}
		authorities, err := readAuthorities(r.CaFile)
		var l *access.CRLs
		if err == nil {
			l, err = readLists(r, authorities)
		}
		if err != nil {
			l = access.UnreadableCRLs(err, before, r.Serials, r.Lenient)
		}
		return listsRead{l, authorities, now, r}, nil
	})
}

func stamps(r *accessv1.Revocation) []stamp {
	var all []stamp
	for _, name := range append([]string{r.CaFile}, r.Lists...) {
		var s stamp
		if info, err := os.Stat(name); err == nil {
			s = stamp{info.ModTime(), info.Size()}
		}
		all = append(all, s)
	}
	return all
}

func readAuthorities(file string) (all []*x509.Certificate, err error) {
	if file == "" {
		return nil, nil
	}
	rest, err := read(file)
	for err == nil {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return all, nil
		}
		var ca *x509.Certificate
		if ca, err = x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, ca)
		}
	}
	return nil, fmt.Errorf("revocation.ca-file: %w", err)
}

// read reads a whole file. It refuses anything that has no end or might block, such as a pipe or
// device.
func read(name string) ([]byte, error) {
	switch info, err := os.Stat(name); {
	case err != nil:
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", name)
	case info.Size() > maxList:
		return nil, fmt.Errorf("%s: %d bytes: at most %d are allowed", name, info.Size(), maxList)
	}
	return os.ReadFile(name)
}

func readLists(r *accessv1.Revocation, authorities []*x509.Certificate) (*access.CRLs, error) {
	var texts [][]byte
	for _, name := range r.Lists {
		text, err := read(name)
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	lists, err := access.NewCRLs(texts, authorities, r.Serials, r.Lenient)
	for i := range texts {
		if _, bad := access.NewCRLs(texts[i:i+1], authorities, nil, r.Lenient); err != nil && bad != nil && !errors.Is(bad, access.ErrDelta) {
			return nil, fmt.Errorf("%s: %w", r.Lists[i], bad)
		}
	}
	return lists, err
}

// checkRevocation finds what the rules of single fields cannot express.
func checkRevocation(r *accessv1.Revocation) error {
	if responder := r.GetOcsp().GetUrl(); responder != "" {
		if u, err := url.Parse(responder); err != nil || u.Hostname() == "" {
			return fmt.Errorf("ocsp.url = %q is not a URL like http://ocsp.example.com", responder)
		}
	}
	switch {
	case r == nil || r.CaFile != "":
		return nil
	case len(r.Lists) > 0:
		return errors.New("ca-file is missing: the lists must be signed by an authority in it")
	case r.Ocsp != nil:
		return errors.New("ca-file is missing: it names the authorities whose certificates the responder is asked about")
	}
	return nil
}

// listed handles lists that were read.
func (k *keeper) listed(c *actors.Context, m listsRead) error {
	k.looking = false
	if m.of != k.cfg.Revocation { // the config has changed in the meantime
		k.look(c)
		return nil
	}
	if m.lists != nil {
		k.lists, k.seen = m.lists, m.seen
		k.trust(m.authorities)
	}
	k.tell(c)
	k.renew(c)
	if turned := k.online.Turned(); m.lists == nil && !turned || !k.recalled {
		return nil
	}
	return k.enforce(c)
}

// tell publishes what is wrong with the lists or the responders when that changes.
func (k *keeper) tell(c *actors.Context) {
	lists, responders := "", k.online.Trouble()
	if err := k.lists.Trouble(time.Now()); err != nil {
		lists = err.Error()
	}
	if lists == k.trouble && responders == k.silent {
		return
	}
	k.trouble, k.silent = lists, responders
	cause := cmp.Or(lists, responders)
	c.Log().Warn("cannot tell which certificates are revoked", "trouble", cause, "lenient", k.cfg.Revocation.GetLenient())
	c.Event("lists", &accessv1.ListTrouble{Time: timestamppb.Now(), Cause: cause, Lenient: k.cfg.Revocation.GetLenient()})
	k.say(c)
}

// say reports the health of the actor.
func (k *keeper) say(c *actors.Context) {
	switch lenient := k.cfg.Revocation.GetLenient(); {
	case k.unread != nil:
		c.Degraded("the identities revoked before this start are unknown: " + k.unread.Error())
	case k.unwritten != "":
		c.Degraded(k.unwritten)
	case k.trouble != "" && lenient:
		c.Degraded("cannot tell which certificates are revoked; all are accepted: " + k.trouble)
	case k.trouble != "":
		c.Degraded("cannot tell which certificates are revoked; all are refused: " + k.trouble)
	case k.silent != "" && lenient:
		c.Degraded("cannot check some certificates by OCSP; they are accepted: " + k.silent)
	case k.silent != "":
		c.Degraded("cannot check some certificates by OCSP; they are refused: " + k.silent)
	default:
		c.OK()
	}
}
