package srv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// asking is one lookup, with the name servers at its beginning.
type asking struct {
	servers  []netip.AddrPort
	timeout  time.Duration // for one answer
	attempts int
	tcp      bool
	// Index of the server that answered last: a dead server is waited for only once per lookup.
	first atomic.Int32
}

// maxForeign is the number of answers to other questions that are skipped. More of them mean a
// spoofing attempt; TCP is not affected.
const maxForeign = 64

// ask asks the servers in turn until one knows. ErrNotFound is such an answer.
func (a *asking) ask(ctx context.Context, name string, kind dnsmessage.Type) (reply, error) {
	if _, err := question(name, kind); err != nil {
		return reply{}, err
	}
	var errs several
	begin := int(a.first.Load())
	for n := range a.attempts * len(a.servers) {
		at := (begin + n) % len(a.servers)
		got, err := a.one(ctx, a.servers[at], name, kind)
		if err == nil || errors.Is(err, ErrNotFound) {
			a.first.Store(int32(at))
			return got, err
		}
		errs = append(errs, fmt.Errorf("name server %s: %w", a.servers[at].Addr(), err))
		if ctx.Err() != nil {
			break
		}
	}
	return reply{}, errs
}

// one asks one server by UDP, and by TCP if the answer does not fit.
func (a *asking) one(ctx context.Context, server netip.AddrPort, name string, kind dnsmessage.Type) (reply, error) {
	network, edns := "udp", true
	if a.tcp {
		network = "tcp"
	}
	for {
		got, err := a.exchange(ctx, network, server, name, kind, edns)
		switch {
		case network == "udp" && (err == nil && got.truncated || errors.Is(err, errForeign)):
			network = "tcp"
			continue
		case err != nil:
			return reply{}, plain(ctx, err, a.timeout)
		case edns && (got.code == dnsmessage.RCodeFormatError || got.code == dnsmessage.RCodeNotImplemented):
			edns = false // a server older than EDNS
			continue
		}
		return got, verdict(got)
	}
}

// verdict returns the meaning of an answer without records.
func verdict(got reply) error {
	switch {
	case got.code == dnsmessage.RCodeNameError:
		return ErrNotFound
	case got.code == dnsmessage.RCodeServerFailure:
		return errors.New("it cannot resolve the name (SERVFAIL)")
	case got.code == dnsmessage.RCodeRefused:
		return errors.New("it refuses (REFUSED)")
	case got.code != dnsmessage.RCodeSuccess:
		return fmt.Errorf("error %d", got.code)
	case got.truncated:
		return errors.New("the answer over TCP is truncated")
	case got.empty:
		return errors.New("it does not know the domain and does not ask other servers")
	}
	return nil
}

// plain returns a network error in few words.
func plain(ctx context.Context, err error, timeout time.Duration) error {
	var op *net.OpError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("cancelled before an answer: %w", ctx.Err())
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %s", timeout)
	case errors.As(err, &op):
		return op.Err
	}
	return err
}

// exchange sends one query, from a random port and with a random id.
func (a *asking) exchange(ctx context.Context, network string, server netip.AddrPort, name string, kind dnsmessage.Type, edns bool) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	id := uint16(rand.Uint32()) // from the runtime's ChaCha8, which is unpredictable
	msg, err := query(id, name, kind, edns)
	if err != nil {
		return reply{}, err
	}
	var d net.Dialer
	// Connected: datagrams from other addresses are dropped.
	conn, err := d.DialContext(ctx, network, server.String())
	if err != nil {
		return reply{}, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if network == "tcp" {
		msg = append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
	}
	if _, err := conn.Write(msg); err != nil {
		return reply{}, err
	}
	if network == "tcp" {
		return stream(conn, id, name, kind)
	}
	return datagrams(conn, id, name, kind)
}

func stream(conn net.Conn, id uint16, name string, kind dnsmessage.Type) (reply, error) {
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return reply{}, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, msg); err != nil {
		return reply{}, err
	}
	return parse(msg, id, name, kind)
}

// datagrams waits for the matching answer: late answers to earlier queries, and guesses, are
// skipped.
func datagrams(conn net.Conn, id uint16, name string, kind dnsmessage.Type) (reply, error) {
	buf := make([]byte, 4096)
	for range maxForeign {
		n, err := conn.Read(buf)
		if err != nil {
			return reply{}, err
		}
		if got, err := parse(buf[:n], id, name, kind); !errors.Is(err, errForeign) {
			return got, err
		}
	}
	return reply{}, errForeign
}
