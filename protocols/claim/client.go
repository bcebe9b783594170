package claim

import (
	"context"
	"crypto/hmac"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// ErrUnsure is returned if the papers are kept but the gateway did not confirm that it is claimed.
var ErrUnsure = errors.New("the gateway did not confirm that it is claimed")

// Claim makes the gateway at addr the operator's. keep stores the operator's papers, before the
// gateway accepts no other claim.
func Claim(ctx context.Context, addr, code string, o Request, keep func(Response) error) error {
	d := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}} //nolint:gosec // the code proves who it is, not a certificate
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("nothing listens at %s: either the gateway is claimed, or its code has expired (restart it for a new one), or it has no claim-door", addr)
		}
		return fmt.Errorf("cannot reach a gateway at %s: %w", addr, err)
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Now()) })()
	c := raw.(*tls.Conn)
	if err := prove(c, code); err != nil {
		return err
	}
	if err := write(c, o); err != nil {
		return err
	}
	var a answer
	if err := hear(c, &a, &a.Error); err != nil {
		return err
	}
	if err := keep(a.Response); err != nil {
		return err
	}
	var w word
	if err := write(c, word{Kept: true}); err != nil {
		return fmt.Errorf("%w: %w", ErrUnsure, err)
	}
	if err := read(c, &w); err != nil {
		return fmt.Errorf("%w: %w", ErrUnsure, err)
	}
	if !w.Claimed {
		return fmt.Errorf("the gateway is not claimed: %s", w.Error)
	}
	return nil
}

// prove proves that we know the code, and verifies that the gateway does.
func prove(c *tls.Conn, code string) error {
	bound, err := exporter(c.ConnectionState())
	if err != nil {
		return err
	}
	if err := write(c, shown{Proof: proof(code, asOperator, bound)}); err != nil {
		return err
	}
	var its shown
	if err := hear(c, &its, &its.Error); err != nil {
		return err
	}
	if !hmac.Equal(its.Proof, proof(code, asGateway, bound)) {
		return errors.New("the other side does not know the code: it is not the gateway that shows it, or the connection is intercepted; nothing was sent")
	}
	return nil
}

// hear reads a message of the gateway, which may be a refusal.
func hear(c net.Conn, m any, refused *string) error {
	if err := read(c, m); err != nil {
		return fmt.Errorf("the gateway ended the connection: %w", err)
	}
	if *refused != "" {
		return fmt.Errorf("refused: %s", *refused)
	}
	return nil
}
