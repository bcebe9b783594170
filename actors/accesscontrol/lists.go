package accesscontrol

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/protocols/access"
	accessv1 "gatewayd/schemas/access/v1"
)

const (
	listsEvery = time.Second // between looks at the files
	listsTime  = 10 * time.Second
	mostList   = 4 << 20 // bytes of a file
)

type (
	listsDue  struct{}
	listsRead struct {
		lists *access.Lists // nil: as before
		seen  []stamp
		of    *accessv1.Revocation
	}
)

// stamp tells one version of a file from another.
type stamp struct {
	modified time.Time
	size     int64
}

// look reads the files of the lists, if they are others than those seen.
func (k *keeper) look(c *actors.Context) {
	r, seen := k.cfg.Revocation, k.seen
	if r == nil || k.looking {
		return
	}
	k.looking = true
	c.Do(listsTime, func(context.Context) (any, error) {
		now := stamps(r)
		if slices.Equal(now, seen) {
			return listsRead{of: r}, nil
		}
		l, err := readLists(r)
		if err != nil {
			l = access.Unread(err, r.Serials, r.Lenient)
		}
		return listsRead{l, now, r}, nil
	})
}

func stamps(r *accessv1.Revocation) []stamp {
	var all []stamp
	for _, name := range append([]string{r.Ca}, r.Lists...) {
		var s stamp
		if info, err := os.Stat(name); err == nil {
			s = stamp{info.ModTime(), info.Size()}
		}
		all = append(all, s)
	}
	return all
}

func readLists(r *accessv1.Revocation) (*access.Lists, error) {
	var authorities []*x509.Certificate
	if r.Ca != "" {
		rest, err := os.ReadFile(r.Ca)
		for err == nil {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			var ca *x509.Certificate
			if ca, err = x509.ParseCertificate(block.Bytes); err == nil {
				authorities = append(authorities, ca)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("authorities: %w", err)
		}
	}
	var texts [][]byte
	for _, name := range r.Lists {
		if info, err := os.Stat(name); err == nil && info.Size() > mostList {
			return nil, fmt.Errorf("%s: %d bytes are too many for a list", name, info.Size())
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	return access.NewLists(texts, authorities, r.Serials, r.Lenient)
}

// checkRevocation says what no rule of a single field can tell.
func checkRevocation(r *accessv1.Revocation) error {
	if r != nil && len(r.Lists) > 0 && r.Ca == "" {
		return errors.New("lists must be signed by somebody: ca names the file of who that may be")
	}
	return nil
}

// listed takes what the files say.
func (k *keeper) listed(c *actors.Context, m listsRead) error {
	k.looking = false
	if m.of != k.cfg.Revocation { // another config came meanwhile
		k.look(c)
		return nil
	}
	if m.lists != nil {
		k.lists, k.seen = m.lists, m.seen
	}
	trouble := ""
	if err := k.lists.Trouble(time.Now()); err != nil {
		trouble = err.Error()
	}
	if trouble != k.trouble {
		k.trouble = trouble
		c.Log().Warn("lists of revoked certificates", "trouble", trouble, "lenient", k.cfg.Revocation.GetLenient())
		c.Event("lists", &accessv1.ListTrouble{Time: timestamppb.Now(), Cause: trouble, Lenient: k.cfg.Revocation.GetLenient()})
		k.say(c)
	}
	if m.lists == nil || !k.recalled {
		return nil
	}
	return k.enforce(c)
}

// say tells how the keeper is.
func (k *keeper) say(c *actors.Context) {
	switch {
	case k.lost != "":
		c.Degraded(k.lost)
	case k.trouble != "" && k.cfg.Revocation.GetLenient():
		c.Degraded("which certificates are revoked is not known, and they are let in all the same: " + k.trouble)
	case k.trouble != "":
		c.Degraded("which certificates are revoked is not known, and none is let in: " + k.trouble)
	default:
		c.OK()
	}
}
