package access

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"gatewayd/cmd/gatewayd/files"
	"gatewayd/protocols/pki"
)

// day is the unit in which lifetimes of certificates are given.
const day = 24 * time.Hour

// defaultLife is the default lifetime of a certificate in days: two years, for unattended sites.
const defaultLife = 730

// CertCommand returns "cert", which issues, renews, lists and revokes certificates.
func CertCommand() *cobra.Command {
	dir := ""
	cmd := &cobra.Command{
		Use:   "cert",
		Short: "Issue, renew, list and revoke certificates of the gateway's own authority",
		Long: `Manage the certificates of the authority that gatewayd claim has created in
<data>/pki. NAME.pem holds a private key and its certificates, and only its owner
may read it; NAME.crt holds the certificates. A running gateway loads renewed
files at the next handshake and applies a revocation within a second. Clients
that are connected with other certificates stay connected.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&dir, "data", files.DataDir(), "data directory of the gateway")
	cmd.AddCommand(issueCommand(&dir), renewCommand(&dir), listCommand(&dir), revokeCommand(&dir))
	return cmd
}

// withAuthority runs fn with the authority of a data directory, and then gives the files of the
// authority to the owner of that directory.
func withAuthority(data string, fn func(a *pki.Authority) error) error {
	dir := filepath.Join(data, "pki")
	a, err := pki.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(fn(a), ownAs(data, dir))
}

// ownAs changes the owner of everything below dir to the owner of like. It does nothing unless run
// by root.
func ownAs(like, dir string) error {
	info, err := os.Stat(like)
	if err != nil || os.Getuid() != 0 {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(owner.Uid), int(owner.Gid))
	})
}

func issueCommand(dir *string) *cobra.Command {
	o, days := pki.CertificateRequest{}, 0
	cmd := &cobra.Command{
		Use:   "issue NAME",
		Short: "Issue a key and certificate for a client or, with --host, for a server",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Name, o.Validity = args[0], time.Duration(days)*day
			return withAuthority(*dir, func(a *pki.Authority) error {
				c, err := a.Issue(o, time.Now())
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s  serial %032x, until %s\n", a.File(o.Name+".pem"), c.SerialNumber, c.NotAfter.Format(time.DateOnly))
				return err
			})
		},
	}
	cmd.Flags().StringSliceVar(&o.Hosts, "host", nil, "names and addresses of the server")
	cmd.Flags().StringVar(&o.URI, "uri", "", "URI that identifies the owner in the certificate, such as spiffe://site/panel")
	cmd.Flags().IntVar(&days, "days", defaultLife, "validity in days")
	return cmd
}

func renewCommand(dir *string) *cobra.Command {
	days := 0
	cmd := &cobra.Command{
		Use:   "renew NAME...",
		Short: "Replace keys and certificates by new ones with the same contents",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withAuthority(*dir, func(a *pki.Authority) error {
				for _, name := range args {
					c, err := a.Renew(name, time.Duration(days)*day, time.Now())
					if err != nil {
						return err
					}
					fmt.Fprintf(cmd.OutOrStdout(), "%s  serial %032x, until %s\n", a.File(name+".pem"), c.SerialNumber, c.NotAfter.Format(time.DateOnly))
				}
				return nil
			})
		},
	}
	cmd.Flags().IntVar(&days, "days", defaultLife, "validity in days")
	return cmd
}

func listCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List all issued certificates and whether they are in force",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withAuthority(*dir, func(a *pki.Authority) error {
				all, err := a.List()
				if err != nil {
					return err
				}
				for _, c := range all {
					fmt.Fprintf(cmd.OutOrStdout(), "%-20s  %032x  until %s  %s\n", c.Subject.CommonName, c.SerialNumber, c.NotAfter.Format(time.DateOnly), inForce(c))
				}
				return nil
			})
		},
	}
}

func inForce(c pki.Issued) string {
	switch {
	case !c.Revoked.IsZero():
		return "revoked " + c.Revoked.Format(time.DateOnly)
	case time.Now().After(c.NotAfter):
		return "expired"
	case time.Until(c.NotAfter) < 30*day:
		return "in force, renew it soon"
	}
	return "in force"
}

func revokeCommand(dir *string) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke NAME|SERIAL",
		Short: "Add a certificate to the revocation list and disconnect clients that use it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withAuthority(*dir, func(a *pki.Authority) error {
				all, err := a.Revoke(args[0], time.Now())
				for _, c := range all {
					fmt.Fprintf(cmd.OutOrStdout(), "revoked %s, serial %032x\n", c.Subject.CommonName, c.SerialNumber)
				}
				return err
			})
		},
	}
}
