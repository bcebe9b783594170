package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatewayd/bus"
	"gatewayd/cmd/gatewayd/exit"
)

// AskTime is how long a gateway has to answer with its standing. Its link may be slow.
const AskTime = 3 * time.Second

// hubFlags adds the flags of a command that reaches gateways through their hub.
func (c *Client) hubFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.server, "hub", os.Getenv("GATEWAYD_HUB"), "URL of the hub for clients, nats:// or tls://host:4222 (default $GATEWAYD_HUB)")
	f.StringVar(&c.key, "creds", os.Getenv("GATEWAYD_CREDS"), "credentials for the hub: a file with an nkey seed, or with a JWT and its key (default $GATEWAYD_CREDS)")
	f.StringVar(&c.proof.ca, "ca", os.Getenv("GATEWAYD_CA"), "CA certificates that verify the hub (PEM file; default $GATEWAYD_CA, else the system's)")
	f.StringVar(&c.proof.cert, "cert", os.Getenv("GATEWAYD_CERT"), "client certificate, for a hub that requires one (PEM file; default $GATEWAYD_CERT, else none)")
	f.StringVar(&c.proof.key, "cert-key", os.Getenv("GATEWAYD_CERT_KEY"), "private key of that certificate (PEM file; default $GATEWAYD_CERT_KEY, else the file of --cert)")
}

func (c *Client) dialHub() (err error) {
	if c.server == "" {
		return exit.Usage("name the hub: --hub nats://host:4222, or $GATEWAYD_HUB")
	}
	url := c.server
	if !strings.Contains(url, "://") {
		url = "nats://" + url
	}
	o := bus.Options{URL: url, NKeyFile: c.key, Name: fmt.Sprint("gatewayd fleet ", os.Getpid()), Hub: true}
	if o.TLS, err = c.proof.tls(url, ""); err != nil {
		return err
	}
	if c.Conn, err = bus.Dial(o); err == nil {
		return nil
	}
	var e *bus.Error
	switch {
	case !errors.As(err, &e):
		return fmt.Errorf("--creds: %w", err)
	case e.Code == bus.Unavailable:
		return fmt.Errorf("no hub answers at %s: is nats-server running there, and is this its port for clients?", bus.Redacted(url))
	case e.Code == bus.PermissionDenied:
		return fmt.Errorf("%s does not admit %s: give an operator's key with --creds, see gatewayd fleet creds --operator", bus.Redacted(url), cmp.Or(c.key, "clients without credentials"))
	}
	return errors.New(e.Message)
}

// explainAtHub is Explain at a hub. If nobody answers, the gateway may not be connected, or not let
// the hub call it.
func (c *Client) explainAtHub(e *bus.Error) error {
	switch e.Code {
	case bus.Unavailable, bus.DeadlineExceeded:
		if c.Gateway == "" {
			break
		}
		words, err := c.Conn.Ask(context.Background(), []string{c.Gateway}, AskTime)
		if err == nil && len(words) == 1 && !words[0].Answered {
			return fmt.Errorf("gateway %s does not answer at the hub: gatewayd fleet ls shows whether it is connected", c.Gateway)
		}
		if !strings.Contains(e.Message, bus.NoAnswer) && !strings.Contains(e.Message, bus.Nobody) {
			break // the gateway has answered
		}
		return fmt.Errorf("%s; gateway %s is connected: does its leaf.calls allow that call?", e.Message, c.Gateway)
	case bus.PermissionDenied:
		return fmt.Errorf("the hub does not permit that with these credentials: %s", strings.TrimSuffix(e.Message, bus.AskOperator))
	}
	return errors.New(e.Message)
}
