package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatewayd/protocols/access"
	"gatewayd/protocols/pki"
	accessv1 "gatewayd/schemas/access/v1"
	"gatewayd/supervisor/config"
)

// claim is a gateway's first operator on his way in.
type claim struct {
	file, data, operator string
	hosts                []string
	plain                bool
}

func claimCommand() *cobra.Command {
	c := &claim{}
	cmd := &cobra.Command{
		Use:   "claim",
		Short: "Make the first operator, an authority and certificates, and close the doors to all others",
		Long: `A gateway has no default password. Claim it once, on the gateway itself: this
asks for a password, makes the first operator, a private certificate authority in
<data>/pki, a certificate of the gateway and one of the operator, and writes an
access-control into the config file, which every door then asks: the bus, MQTT
and HTTP, encrypted. Everybody else needs an identity of his own from then on.
The config is checked before it is written; what stood there is kept beside it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			password, err := readPassword(cmd.Context(), cmd.InOrStdin(), cmd.ErrOrStderr(), true)
			if err != nil {
				return err
			}
			done, err := c.run(password)
			if err == nil {
				_, err = fmt.Fprint(cmd.OutOrStdout(), done)
			}
			return err
		},
	}
	host, _ := os.Hostname()
	cmd.Flags().StringVarP(&c.file, "config", "c", "gateway.toml", "config file")
	cmd.Flags().StringVar(&c.data, "data", dataDir(), "data directory of the gateway")
	cmd.Flags().StringVar(&c.operator, "operator", "operator", "name of the first operator")
	cmd.Flags().StringSliceVar(&c.hosts, "host", []string{host, "localhost", "127.0.0.1", "::1"}, "names and addresses by which clients reach the gateway")
	cmd.Flags().BoolVar(&c.plain, "plain", false, "no authority and no certificates: the doors stay unencrypted")
	return cmd
}

func (c *claim) run(password string) (string, error) {
	tree, problems := load(c.file)
	if err := refused(problems); err != nil {
		return "", err
	}
	claimed := ""
	tree.Walk(func(n *config.Node) {
		if _, ok := n.Config.(*accessv1.Access); ok {
			claimed = n.Path
		}
	})
	if claimed != "" {
		return "", fmt.Errorf("%s has been claimed: %q says who may come in", c.file, claimed)
	}
	old, err := os.ReadFile(c.file)
	if err != nil {
		return "", err
	}
	dir, err := filepath.Abs(filepath.Join(c.data, "pki"))
	if err != nil {
		return "", err
	}
	text := c.written(string(old), dir, access.Hash([]byte(password)))
	if _, problems := parse(c.file, []byte(text)); refused(problems) != nil {
		return "", fmt.Errorf("the config would not be right any more, and was left as it is: %w", refused(problems))
	}
	if !c.plain {
		if err := c.certify(dir); err != nil {
			return "", err
		}
	}
	if err := writeLike(c.file, c.file+".unclaimed", old); err != nil {
		return "", err
	}
	if err := writeLike(c.file, c.file, []byte(text)); err != nil {
		return "", err
	}
	return c.done(dir), nil
}

// certify makes the authority, if there is none, and what it issues first.
func (c *claim) certify(dir string) error {
	if err := os.MkdirAll(c.data, 0o700); err != nil {
		return err
	}
	a, err := pki.Open(dir)
	if err != nil {
		if a, err = pki.Create(dir, "gateway "+c.hosts[0], time.Now()); err != nil {
			return err
		}
	}
	now := time.Now()
	_, one := a.Issue(pki.Order{Name: "gateway", Hosts: c.hosts, Lasts: defaultLife * day, Replace: true}, now)
	_, other := a.Issue(pki.Order{Name: c.operator, Lasts: defaultLife * day, Replace: true}, now)
	return errors.Join(one, other, ownAs(c.data, dir))
}

// written is the config of a claimed gateway: each table of a door gets the keys that it lacks, and who may come in stands at the end.
func (c *claim) written(old, dir, hash string) string {
	lines := strings.Split(strings.TrimRight(old, "\n"), "\n")
	door := regexp.MustCompile(`^(\s*)kind\s*=\s*["'](bus|mqtt-broker|http-server)["']`)
	var out []string
	for i, line := range lines {
		out = append(out, line)
		m := door.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		has := keysOfTable(lines, i)
		if !has["access"] {
			out = append(out, m[1]+`access = "`+keeperPath+`"`)
		}
		if !has["tls"] && !c.plain {
			out = append(out, fmt.Sprintf("%stls    = { certificate = %q, key = %[2]q, ca = %[3]q }", m[1], filepath.Join(dir, "gateway.pem"), filepath.Join(dir, "ca.crt")))
		}
	}
	out = append(out, "", "# Who may come in, by gatewayd claim.", "["+keeperPath+"]", `kind = "access-control"`)
	if !c.plain {
		out = append(out, fmt.Sprintf("revocation = { ca = %q, lists = [%q] }", filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.crl")))
	}
	out = append(out, "", "[["+keeperPath+".roles]]", `name  = "operator"`, `allow = ["#"]`,
		"", "[["+keeperPath+".identities]]", fmt.Sprintf("name     = %q", c.operator), `roles    = ["operator"]`, fmt.Sprintf("password = %q", hash))
	if !c.plain {
		out = append(out, fmt.Sprintf("certificates = [%q]", "CN:"+c.operator))
	}
	return strings.Join(out, "\n") + "\n"
}

// keysOfTable are the keys of the table that line i is in, the names of tables below it included.
func keysOfTable(lines []string, i int) map[string]bool {
	first, last := i, i+1
	for first > 0 && !strings.HasPrefix(strings.TrimSpace(lines[first]), "[") {
		first--
	}
	for last < len(lines) && !strings.HasPrefix(strings.TrimSpace(lines[last]), "[") {
		last++
	}
	has := map[string]bool{}
	for _, line := range lines[first:last] {
		key, _, _ := strings.Cut(line, "=")
		has[strings.TrimSpace(key)] = true
	}
	table := strings.Trim(strings.TrimSpace(lines[first]), "[]")
	for _, line := range lines {
		if below, ok := strings.CutPrefix(strings.Trim(strings.TrimSpace(line), "[]"), table+"."); ok {
			has[below] = true
		}
	}
	return has
}

func (c *claim) done(dir string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is claimed by %s. Restart the gateway for it to take effect.\n", c.file, c.operator)
	if c.plain {
		return b.String()
	}
	fmt.Fprintf(&b, "  authority, for clients to trust:    %s\n", filepath.Join(dir, "ca.crt"))
	fmt.Fprintf(&b, "  key and certificate of %-12s  %s\n", c.operator+":", filepath.Join(dir, c.operator+".pem"))
	fmt.Fprintf(&b, "  try: gatewayd tree --ca %s --cert %s\n", filepath.Join(dir, "ca.crt"), filepath.Join(dir, c.operator+".pem"))
	return b.String()
}
