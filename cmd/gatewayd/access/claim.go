package access

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatewayd/cmd/gatewayd/files"
	"gatewayd/cmd/gatewayd/terminal"
	"gatewayd/protocols/access"
	"gatewayd/protocols/pki"
	accessv1 "gatewayd/schemas/access/v1"
	"gatewayd/supervisor/config"
)

// claim is the claiming of a gateway by its first operator.
type claim struct {
	kinds                files.Kinds
	file, data, operator string
	hosts                []string
	plain, open          bool
	doors                []string // addresses on which the gateway listens once it is claimed
}

// ClaimCommand returns "claim", which makes the first operator.
func ClaimCommand(kinds files.Kinds) *cobra.Command {
	c, r := &claim{kinds: kinds}, &remoteClaim{}
	cmd := &cobra.Command{
		Use:   "claim",
		Short: "Create the first operator, an authority and certificates, and lock out everybody else",
		Long: `Claim a new gateway: create its first operator and lock everybody else out.

A gateway has no default password. Run claim once, on the gateway itself. It asks
for a password, creates the first operator, a private certificate authority in
<data>/pki, and certificates for the gateway and for the operator. It then adds
an access-control to the config file, which the bus, MQTT and HTTP consult from
then on, over encrypted connections unless --plain is given. Every other client
needs an identity of its own. The new config is checked before it is written, and the previous one is
kept in a file beside it.

To claim a gateway that has a claim-door from another machine, use --server and
the --code that the gateway shows in its log. The operator's key is created on
this machine and never leaves it, and the code is not sent. The gateway then
restarts by itself and, now closed to strangers, listens on the network.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.check(cmd, c); err != nil {
				return err
			}
			if r.code == "" { // before anybody is asked for a password
				if err := c.unclaimed(); err != nil {
					return err
				}
			}
			password, err := terminal.ReadPassword(cmd.Context(), cmd.InOrStdin(), cmd.ErrOrStderr(), true)
			if err != nil {
				return err
			}
			run := c.run
			if r.code != "" {
				run = func(password string) (string, error) { return r.run(cmd.Context(), c, password) }
			}
			done, err := run(password)
			if err == nil {
				_, err = fmt.Fprint(cmd.OutOrStdout(), done)
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&c.file, "config", "c", "gateway.toml", "config file")
	cmd.Flags().StringVar(&c.data, "data", files.DataDir(), "data directory of the gateway")
	cmd.Flags().StringVar(&c.operator, "operator", "operator", "name of the first operator")
	cmd.Flags().StringSliceVar(&c.hosts, "host", nil, "additional names and addresses for the gateway's certificate, besides its host name, its addresses and the one in --server")
	cmd.Flags().BoolVar(&c.plain, "plain", false, "create no authority and no certificates; connections stay unencrypted")
	cmd.Flags().BoolVar(&c.open, "open", false, "make local listeners, except unencrypted ones, listen on all addresses (default with --code)")
	r.flags(cmd)
	return cmd
}

// here returns the names and addresses of this machine.
func here() []string {
	host, _ := os.Hostname()
	all := []string{host, "localhost", "127.0.0.1", "::1"}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
			all = append(all, ip.IP.String())
		}
	}
	return all
}

func (c *claim) run(password string) (string, error) {
	c.hosts = hostsOf(c.hosts)
	_, keep, err := c.prepare(access.Hash([]byte(password)), func(a *pki.Authority, o pki.CertificateRequest) ([]byte, error) {
		_, err := a.Issue(o, time.Now())
		return nil, err
	})
	if err == nil {
		err = keep()
	}
	if err != nil {
		return "", err
	}
	return c.done(filepath.Join(c.data, "pki")), nil
}

// unclaimed returns an error if the config cannot be claimed: it has problems, or it has been
// claimed already.
func (c *claim) unclaimed() error {
	tree, problems := c.kinds.Load(c.file)
	if err := files.Refused(problems); err != nil {
		return err
	}
	claimed := ""
	tree.Walk(func(n *config.Node) {
		if _, ok := n.Config.(*accessv1.Access); ok {
			claimed = n.Path
		}
	})
	if claimed != "" {
		return fmt.Errorf("%s has been claimed: %q controls who has access", c.file, claimed)
	}
	return nil
}

// prepare builds the config of the claimed gateway and has certify issue the operator's
// certificate, whose chain it returns. It writes no config yet; keep does.
func (c *claim) prepare(hash string, certify func(*pki.Authority, pki.CertificateRequest) ([]byte, error)) (chain []byte, keep func() error, err error) {
	if err := c.unclaimed(); err != nil {
		return nil, nil, err
	}
	old, err := os.ReadFile(c.file)
	if err != nil {
		return nil, nil, err
	}
	dir, err := filepath.Abs(filepath.Join(c.data, "pki"))
	if err != nil {
		return nil, nil, err
	}
	text := c.written(string(old), dir, hash)
	tree, problems := c.kinds.Parse(c.file, []byte(text))
	if files.Refused(problems) != nil {
		return nil, nil, fmt.Errorf("the new config would be invalid, and the file was left unchanged: %w", files.Refused(problems))
	}
	c.doors = doorsOf(tree)
	if !c.plain {
		if chain, err = c.certify(dir, certify); err != nil {
			return nil, nil, err
		}
	}
	return chain, func() error {
		if err := files.WriteLike(c.file, c.file+".unclaimed", old); err != nil {
			return err
		}
		return files.WriteLike(c.file, c.file, []byte(text))
	}, nil
}

// certify makes the authority, if there is none, and issues the certificates of the gateway and, by
// the function certify, of the operator.
func (c *claim) certify(dir string, certify func(*pki.Authority, pki.CertificateRequest) ([]byte, error)) ([]byte, error) {
	if err := os.MkdirAll(c.data, 0o700); err != nil {
		return nil, err
	}
	a, err := pki.Open(dir)
	if err != nil {
		if a, err = pki.Create(dir, "gateway "+c.hosts[0], time.Now()); err != nil {
			return nil, err
		}
	}
	_, one := a.Issue(pki.CertificateRequest{Name: "gateway", Hosts: c.hosts, Validity: defaultLife * day, Replace: true}, time.Now())
	chain, other := certify(a, pki.CertificateRequest{Name: c.operator, Validity: defaultLife * day, Replace: true})
	return chain, errors.Join(one, other, ownAs(c.data, dir))
}

// usualPort returns the port on which a door without the key listen listens, on loopback only.
func usualPort(kind string) string {
	switch kind {
	case "mqtt-broker":
		return "1883"
	case "http-server":
		return "8080"
	}
	return ""
}

// written returns the config of a claimed gateway: the table of each door gets the keys it lacks,
// and an access-control is appended.
func (c *claim) written(old, dir, hash string) string {
	doorLine := regexp.MustCompile(`^(\s*)kind\s*=\s*["'](bus|mqtt-broker|http-server|claim-door)["']`)
	lines := strings.Split(strings.TrimRight(old, "\n"), "\n")
	doors := slices.Clone(lines)
	for i, line := range lines {
		m := doorLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		first, last := tableOf(lines, i)
		has := keysOfTable(lines, first, last)
		switch {
		case m[2] == "claim-door" && !has["claimed"]:
			doors[i] += "\n" + m[1] + "claimed = true"
		case m[2] != "claim-door":
			if !has["access"] {
				doors[i] += "\n" + m[1] + `access = "` + keeperPath + `"`
			}
			if !has["tls"] && !c.plain {
				doors[i] += fmt.Sprintf("\n%stls    = { cert-file = %q, key-file = %[2]q, ca-file = %[3]q }", m[1], filepath.Join(dir, "gateway.pem"), filepath.Join(dir, "ca.crt"))
			}
			if usual := usualPort(m[2]); c.open && usual != "" && !has["listen"] {
				doors[i] += fmt.Sprintf("\n%slisten = %q", m[1], "0.0.0.0:"+usual)
			}
			if c.open {
				openTable(doors, first, last)
			}
		}
	}
	out := doors
	out = append(out, "", "# Who may come in, by gatewayd claim.", "["+keeperPath+"]", `kind = "access-control"`)
	if !c.plain {
		out = append(out, fmt.Sprintf("revocation = { ca-file = %q, lists = [%q] }", filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.crl")))
	}
	out = append(out, "", "[["+keeperPath+".roles]]", `name  = "operator"`, `allow = ["#"]`,
		"", "[["+keeperPath+".identities]]", fmt.Sprintf("name     = %q", c.operator), `roles    = ["operator"]`, fmt.Sprintf("password = %q", hash))
	if !c.plain {
		out = append(out, fmt.Sprintf("certificates = [%q]", "CN:"+c.operator))
	}
	return strings.Join(out, "\n") + "\n"
}

func (c *claim) done(dir string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is claimed by %s. Restart the gateway for it to take effect.\n", c.file, c.operator)
	if c.plain {
		return b.String()
	}
	b.WriteString(labelled("CA certificate, for clients", filepath.Join(dir, "ca.crt")))
	b.WriteString(labelled("key and certificate of "+c.operator, filepath.Join(dir, c.operator+".pem")))
	at := ""
	if c.data != files.DataDir() {
		at = " --data " + c.data
	}
	fmt.Fprintf(&b, "  try: gatewayd tree%s --ca %s --cert %s\n", at, filepath.Join(dir, "ca.crt"), filepath.Join(dir, c.operator+".pem"))
	return b.String()
}

// labelled returns one line of the summary of a claim, with the value aligned to those of other
// lines.
func labelled(what, value string) string { return fmt.Sprintf("  %-34s  %s\n", what+":", value) }
