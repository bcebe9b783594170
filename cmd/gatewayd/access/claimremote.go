package access

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/cmd/gatewayd/files"
	"gatewayd/protocols/access"
	claiming "gatewayd/protocols/claim"
	"gatewayd/schemas"
)

// remoteClaim is the claiming of a gateway from another machine.
type remoteClaim struct {
	code, server, out string
}

const claimPort = "4280"

func (r *remoteClaim) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.code, "code", "", "code from the log of a gateway with a claim-door, to claim it from this machine")
	cmd.Flags().StringVar(&r.server, "server", "127.0.0.1", "address of that gateway; port "+claimPort+" unless given")
	cmd.Flags().StringVar(&r.out, "out", ".", "directory for the operator's files, with --code")
	_ = cmd.MarkFlagDirname("out")
}

// check finds mistakes in the command line before the operator is asked for a password.
func (r *remoteClaim) check(cmd *cobra.Command, c *claim) error {
	set := cmd.Flags().Changed
	switch {
	case r.code == "" && (set("server") || set("out")):
		return exit.Usage("--server and --out are for claiming a gateway from another machine, which needs the --code from its log")
	case r.code == "":
		return nil
	case !claiming.IsCode(r.code):
		return exit.Usage("--code %q is not a claim code: it has 16 letters and digits, like K7QM-2XRD-91TB-ZH4C", r.code)
	case c.plain:
		return exit.Usage("--plain works on the gateway itself only: a claim from another machine uses certificates")
	case set("config") || set("data"):
		return exit.Usage("--config and --data are for a claim on the gateway itself, without --code")
	}
	if _, _, err := net.SplitHostPort(r.server); err != nil {
		r.server = net.JoinHostPort(strings.Trim(r.server, "[]"), claimPort)
	}
	for _, file := range []string{r.file(c, ".pem"), r.file(c, "-ca.crt")} {
		if _, err := os.Stat(file); err == nil {
			return fmt.Errorf("%s already exists: choose another directory with --out", file)
		}
	}
	if !set("open") {
		c.open = true
	}
	return nil
}

func (r *remoteClaim) file(c *claim, what string) string {
	return filepath.Join(r.out, c.operator+what)
}

func (r *remoteClaim) run(ctx context.Context, c *claim, password string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: c.operator}}, key)
	if err != nil {
		return "", err
	}
	host, _, _ := net.SplitHostPort(r.server)
	o := claiming.Request{Operator: c.operator, Password: access.Hash([]byte(password)), Request: request, Hosts: append(c.hosts, host), Open: c.open, Time: time.Now()}
	var papers claiming.Response
	err = claiming.Claim(ctx, r.server, r.code, o, func(p claiming.Response) error {
		papers = p
		return r.keep(c, key, p)
	})
	switch {
	case errors.Is(err, claiming.ErrUnsure):
		return "", fmt.Errorf("%w; the operator's files are in %s: try whether they give access", err, r.out)
	case err != nil:
		_ = os.Remove(r.file(c, ".pem")) // useless without the claim
		_ = os.Remove(r.file(c, "-ca.crt"))
		return "", err
	}
	return r.done(c, host, papers), nil
}

// keep writes the operator's key and certificate chain, and the certificate of the authority.
func (r *remoteClaim) keep(c *claim, key *ecdsa.PrivateKey, p claiming.Response) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	own := bytes.Join([][]byte{pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), p.Certificate}, nil)
	if err := files.Write(r.file(c, ".pem"), own); err != nil { // a new file is readable by its owner only
		return err
	}
	return files.Write(r.file(c, "-ca.crt"), p.CA)
}

func (r *remoteClaim) done(c *claim, host string, p claiming.Response) string {
	var b strings.Builder
	fmt.Fprintf(&b, "The gateway is claimed by %s and restarts.\n", c.operator)
	b.WriteString(labelled("CA certificate, for clients", r.file(c, "-ca.crt")))
	b.WriteString(labelled("key and certificate of "+c.operator, r.file(c, ".pem")))
	for _, d := range p.Doors {
		kind, listen, _ := strings.Cut(d, " ")
		b.WriteString(labelled("listener, "+kind, listen))
		_, port, err := net.SplitHostPort(listen)
		if kind == "bus" && err == nil && (schemas.Exposed(listen) || !schemas.Exposed(r.server)) {
			fmt.Fprintf(&b, "  try: gatewayd tree --server tls://%s --ca %s --cert %s\n", net.JoinHostPort(host, port), r.file(c, "-ca.crt"), r.file(c, ".pem"))
		}
	}
	return b.String()
}
