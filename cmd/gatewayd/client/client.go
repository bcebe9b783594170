// Package client connects commands to a running gateway, or through a hub to many. It finds the
// server and the credentials, calls actors, lists them, and completes their names in the shell.
package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatewayd/actors"
	"gatewayd/bus"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/cmd/gatewayd/files"
	"gatewayd/cmd/gatewayd/terminal"
	"gatewayd/supervisor"
)

// DefaultURL is where the bus of a gateway is looked for if nothing else is known.
const DefaultURL = "nats://127.0.0.1:4222"

// startTime is how long a gateway may take after the start of its bus to publish something.
const startTime = 2 * time.Second

// Client is the connection of a command to a running gateway.
type Client struct {
	Gateway string        // its name; Connect finds the only one there
	Timeout time.Duration // longest wait for an answer; 0: unlimited
	AsJSON  bool          // print answers as JSON
	Conn    *bus.Conn     // nil: not connected

	kinds                   []actors.Kind
	server, key, user, data string
	fleet                   bool // server is a hub, and key the credentials for it
	proof                   proof
	cmd                     *cobra.Command // the command that runs; nil during completion, which must not ask for anything
}

// New returns a client for a gateway; kinds are the actor types it may have.
func New(kinds []actors.Kind) *Client { return &Client{kinds: kinds} }

// AtHub returns a client for gateways that are reached through their hub.
func AtHub(kinds []actors.Kind) *Client { return &Client{kinds: kinds, fleet: true} }

// Flags adds the flags that all commands with a client share.
func (c *Client) Flags(cmd *cobra.Command) {
	f := cmd.Flags()
	cmd.PreRun = func(cmd *cobra.Command, _ []string) { c.cmd = cmd } // set only when it runs: cobra's table of flag completions keeps c, and with it cmd, for ever
	f.DurationVar(&c.Timeout, "timeout", 10*time.Second, "maximum time to wait for the gateway")
	f.BoolVar(&c.AsJSON, "json", false, "print JSON")
	if c.fleet {
		c.hubFlags(cmd)
		return
	}
	f.StringVar(&c.server, "server", "", "URL of the gateway's bus (default $GATEWAYD_SERVER, else the one in <data>/"+files.URLFile+", else "+DefaultURL+")")
	f.StringVar(&c.key, "key", "", "nkey seed file to authenticate with (default $GATEWAYD_KEY, else <data>/keys/operator.nk if readable, else none)")
	f.StringVar(&c.user, "user", "", "identity to log in as, with the password in $GATEWAYD_PASSWORD or one read from the prompt")
	f.StringVar(&c.proof.ca, "ca", os.Getenv("GATEWAYD_CA"), "CA certificates that verify the gateway (PEM file; default $GATEWAYD_CA, else the system's)")
	f.StringVar(&c.proof.cert, "cert", os.Getenv("GATEWAYD_CERT"), "client certificate to authenticate with (PEM file; default $GATEWAYD_CERT, else none)")
	f.StringVar(&c.proof.key, "cert-key", os.Getenv("GATEWAYD_CERT_KEY"), "private key of that certificate (PEM file; default $GATEWAYD_CERT_KEY, else the file of --cert)")
	f.StringVar(&c.Gateway, "gateway", "", "name of the gateway (default the only one on the bus)")
	f.StringVar(&c.data, "data", files.DataDir(), "data directory of a gateway on this machine")
	_ = cmd.RegisterFlagCompletionFunc("gateway", c.completeGateways)
	_ = cmd.MarkFlagFilename("key")
	_ = cmd.MarkFlagDirname("data")
}

// url returns where the bus is and which setting says so; pinned is the file of the bus's
// certificate, if known.
func (c *Client) url() (url, says, pinned string) {
	if c.server != "" {
		return c.server, "--server", ""
	}
	if env := os.Getenv("GATEWAYD_SERVER"); env != "" {
		return env, "GATEWAYD_SERVER", ""
	}
	file := filepath.Join(c.data, files.URLFile)
	if text, err := os.ReadFile(file); err == nil && len(text) > 0 {
		url, pinned, _ = strings.Cut(strings.TrimSpace(string(text)), "\n")
		return url, file, pinned
	}
	return DefaultURL, "", ""
}

// seed returns the key file to use; chosen is false if it is only the default.
func (c *Client) seed() (file string, chosen bool) {
	if c.key != "" {
		return c.key, true
	}
	if env := os.Getenv("GATEWAYD_KEY"); env != "" {
		return env, true
	}
	file = filepath.Join(c.data, "keys", "operator.nk")
	if c.proof.cert != "" || c.user != "" || strings.Contains(c.server, "@") {
		return "", false // other credentials are given
	}
	if f, err := os.Open(file); err == nil {
		f.Close()
		return file, false
	}
	return "", false
}

// Connect connects to the bus and finds the gateway. The caller must call Close.
func (c *Client) Connect(ctx context.Context) error {
	if err := c.Dial(); err != nil {
		return err
	}
	if c.Gateway != "" || c.fleet {
		if err := bus.CheckGateway(c.Gateway); err != nil {
			return exit.Usage("%v", err)
		}
		return nil
	}
	names, err := c.gateways(ctx)
	for begin := time.Now(); err == nil && len(names) == 0 && time.Since(begin) < min(c.Timeout, startTime); names, err = c.gateways(ctx) {
		time.Sleep(50 * time.Millisecond) // the bus is up shortly before the tree
	}
	switch {
	case err != nil:
		return c.Explain(err)
	case len(names) == 0:
		url, _, _ := c.url()
		return fmt.Errorf("no gateway has published its health at %s yet: is it still starting? name it with --gateway", url)
	case len(names) > 1:
		return fmt.Errorf("several gateways are on this bus: choose one with --gateway %s", strings.Join(names, ", --gateway "))
	}
	c.Gateway = names[0]
	return nil
}

// checkData returns an error if --data was given to find the bus by, and the directory does not
// tell where the bus is. says is the setting that has told it.
func (c *Client) checkData(says string) error {
	if says == "" && c.cmd != nil && c.cmd.Flags().Changed("data") {
		if _, err := os.Stat(c.data); err != nil {
			return fmt.Errorf("--data %s: %v: name the data directory of the gateway, or its bus with --server", c.data, errors.Unwrap(err))
		}
		_, err := os.Stat(filepath.Join(c.data, files.URLFile))
		return noAddress(c.data, err)
	}
	return nil
}

// Dial connects to the bus, or to the hub. The caller must call Close.
func (c *Client) Dial() (err error) {
	if c.fleet {
		return c.dialHub()
	}
	url, says, pinned := c.url()
	if err := c.checkData(says); err != nil {
		return err
	}
	if !strings.Contains(url, "://") {
		url = "nats://" + url
	}
	key, chosen := c.seed()
	o := bus.Options{URL: url, NKeyFile: key, Name: "gatewayd " + fmt.Sprint(os.Getpid())}
	if o.TLS, err = c.proof.tls(url, pinned); err != nil {
		return err
	}
	if o.User = c.user; o.User != "" {
		if o.Password, err = c.password(); err != nil {
			return err
		}
	}
	c.Conn, err = bus.Dial(o)
	var e *bus.Error
	if !errors.As(err, &e) {
		return err
	}
	if e.Code == bus.PermissionDenied && key != "" && !chosen {
		o.NKeyFile = "" // a default key may be that of another gateway
		if open, err := bus.Dial(o); err == nil {
			c.Conn = open
			return nil
		}
	}
	switch e.Code {
	case bus.Unavailable:
		if says != "" {
			says = " (from " + says + ")"
		}
		return fmt.Errorf("no gateway answers at %s%s: is gatewayd running, and does [bus] listen there? choose another with --server", bus.Redacted(url), says)
	case bus.PermissionDenied:
		if c.proof.cert != "" && c.user == "" && !chosen {
			return fmt.Errorf("%s does not admit the certificate %s: is it revoked, or does no identity of the access-control name it in certificates?", bus.Redacted(url), c.proof.cert)
		}
		if key == "" && c.user == "" && !strings.Contains(url, "@") {
			return fmt.Errorf("%s requires authentication: %s", url, c.keyHint())
		}
		if key != "" && !chosen {
			return fmt.Errorf("%s does not accept the key in %s, which is that of another gateway: give --cert, --user, --key, or the data directory of this gateway with --data",
				bus.Redacted(url), key)
		}
	case bus.FailedPrecondition:
		if strings.Contains(e.Message, "x509: certificate signed by unknown authority") {
			return fmt.Errorf("%s shows a certificate of an unknown authority: give the CA certificate of the gateway with --ca", bus.Redacted(url))
		}
		if strings.Contains(e.Message, "secure connection not available") {
			return fmt.Errorf("%s does not use TLS: leave out --ca and --cert, or restart the gateway if it has just been claimed", bus.Redacted(url))
		}
	}
	return errors.New(e.Message)
}

// password returns the password of --user.
func (c *Client) password() (string, error) {
	if p, ok := os.LookupEnv("GATEWAYD_PASSWORD"); ok || c.cmd == nil {
		return p, nil
	}
	return terminal.ReadPassword(c.cmd.Context(), c.cmd.InOrStdin(), c.cmd.ErrOrStderr(), false)
}

// Close closes the connection, if there is one.
func (c *Client) Close() {
	if c.Conn != nil {
		c.Conn.Close()
	}
}

// gateways returns the gateways on the bus.
func (c *Client) gateways(ctx context.Context) (names []string, err error) {
	ctx, cancel := c.Bounded(ctx)
	defer cancel()
	err = c.Conn.Last(ctx, bus.Subject("*", bus.State, supervisor.Root, "health"), func(r bus.Record) error {
		if a, err := bus.ParseSubject(r.Subject); err == nil {
			names = append(names, a.Gateway)
		}
		return nil
	})
	return names, err
}

// Bounded returns ctx with Timeout as its limit, if there is one.
func (c *Client) Bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.Timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, c.Timeout)
}

// keyHint returns how to pass the operator's key, with its path if it may be there.
func (c *Client) keyHint() string {
	dir := c.data
	if _, err := os.Stat(dir); err != nil {
		dir = files.SystemDir
	}
	key := filepath.Join(dir, "keys", "operator.nk")
	if _, err := os.Stat(key); errors.Is(err, fs.ErrNotExist) {
		return "name the data directory of the gateway with --data, or a key file with --key"
	}
	return "--key " + key
}

// Explain turns an error of the bus into one line that tells the user what to do.
func (c *Client) Explain(err error) error {
	var e *bus.Error
	switch {
	case !errors.As(err, &e):
		return err
	case e.Code == bus.InvalidArgument:
		return exit.Usage("%s", e.Message)
	case c.fleet:
		return c.explainAtHub(e)
	}
	switch e.Code {
	case bus.PermissionDenied:
		what, denied := strings.CutSuffix(e.Message, bus.AskOperator)
		if denied && (c.user != "" || c.proof.cert != "") {
			return fmt.Errorf("%s: one of its roles must allow that, or use the operator key", what)
		}
		if denied {
			return fmt.Errorf("this needs the operator key: %s", c.keyHint())
		}
	case bus.DeadlineExceeded:
		if strings.Contains(e.Message, bus.NoAnswer) { // otherwise the actor has answered, that it waited for another one in vain
			within := fmt.Sprintf("no answer within %s", c.Timeout)
			return fmt.Errorf("%s: allow more time with --timeout, or see gatewayd tree", strings.Replace(e.Message, bus.NoAnswer, within, 1))
		}
	case bus.NotFound:
		if strings.HasPrefix(e.Message, "no actor has the path ") && strings.HasSuffix(e.Message, `"`) { // without a suggestion
			return errors.New(e.Message + LookAround)
		}
	}
	return errors.New(e.Message)
}

// LookAround is appended to the error for an unknown actor for which there is no suggestion.
const LookAround = ": gatewayd tree lists all actors"

// noAddress returns the error for a data directory that does not tell where the bus is. err is that
// of the search for its file.
func noAddress(dir string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("--data %s cannot be read by this user: use sudo, or name the bus with --server and a key with --key", dir)
	}
	return fmt.Errorf("--data %s: no gateway runs with this data directory, or its bus does not listen: there is no %s", dir, files.URLFile)
}
