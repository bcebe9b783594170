package daemon

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"gatewayd/actors"
	"gatewayd/actors/accessdoor"
	"gatewayd/bus"
	"gatewayd/protocols/access"
	"gatewayd/protocols/tlsfiles"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	tlsv1 "gatewayd/schemas/tls/v1"
)

// natsDoor admits NATS clients by the access policy that all doors share.
type natsDoor struct {
	*accessdoor.Door
	bus *bus.Bus
}

// guard authenticates a client of the bus.
func (d *natsDoor) guard(s bus.Presented) (bus.Guest, error) {
	id, err := d.Authenticate(access.Presented{Name: s.Name, Password: s.Password, Token: s.Token, Key: s.Key, Certificate: s.Certificate, Remote: s.Remote})
	if err != nil {
		return bus.Guest{}, err
	}
	return guestOf(id), nil
}

func guestOf(id *access.Identity) bus.Guest {
	g := bus.Guest{Name: id.Name, Expires: id.Expires(), Of: id}
	g.Allow, g.Deny = id.Patterns()
	return g
}

// Receive handles a message for the door. It returns false if msg is not for the door.
func (d *natsDoor) Receive(c *actors.Context, msg any) bool {
	if _, ok := msg.(accessdoor.Sweep); !ok {
		return d.Door.Receive(c, msg)
	}
	now := time.Now()
	cuts := d.bus.Review(func(g bus.Guest) (bus.Guest, error) {
		id := g.Of.(*access.Identity)
		if err := d.Gone(id, now); err != nil {
			return g, err
		}
		if id = d.Current(id); id == nil {
			return g, access.ErrUnknown
		}
		return guestOf(id), nil
	})
	for _, cut := range cuts {
		c.Log().Warn("connections closed", "identity", cut.Name, "connections", cut.Connections, "cause", cut.Cause)
		c.Event("cut", &gatewayv1.BusCut{Identity: cut.Name, Connections: uint32(cut.Connections), Cause: cut.Cause.Error()})
	}
	return true
}

// startBus starts the bus, and returns the door that admits its clients. The gateway's own keys are
// admitted by the bus itself.
func startBus(gateway string, c *gatewayv1.Bus, dir string, log *slog.Logger) (*bus.Bus, *natsDoor, error) {
	cfg := bus.Config{
		Gateway: gateway, Dir: filepath.Join(dir, "bus"), KeyDir: filepath.Join(dir, "keys"), Listen: c.Listen,
		MaxStore: int64(c.MaxStore), MaxTracks: int64(c.MaxTracks), Reserve: int64(c.Reserve), MaxMemory: int64(c.MaxMemory), Insecure: c.Insecure, Log: log.With("part", "bus"),
	}
	if c.Anonymous != "none" {
		cfg.Anonymous = c.Anonymous
	}
	var err error
	if cfg.Leaf, err = leafWithTLS(c); err != nil {
		return nil, nil, err
	}
	if cfg.TLS, err = busTLS(c.Tls, log); err != nil {
		return nil, nil, err
	}
	door := &natsDoor{Door: accessdoor.New(c.Access)}
	if door.Guarded() {
		cfg.Guard = door.guard
	}
	cfg.Refused = func(r bus.Refusal) {
		door.Refuse(access.Refusal{Reason: r.Reason, Remote: r.Remote, Identity: r.Guest, Cause: r.Cause})
	}
	b, err := bus.Start(cfg)
	if err != nil {
		return nil, nil, err
	}
	door.bus = b
	for _, l := range b.Report().Losses {
		log.Error("the store was damaged", "loss", l.String())
	}
	if why := b.Report().Store; why != "" {
		log.Error("the bus runs without its store", "why", why)
	}
	return b, door, nil
}

func busTLS(c *tlsv1.Server, log *slog.Logger) (*tls.Config, error) {
	if c == nil {
		return nil, nil
	}
	f := tlsfiles.FilesOf(c)
	cfg, err := f.Config(func(err error) { log.Warn(err.Error(), "part", "bus") })
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	return cfg, nil
}

// leafWithTLS returns the connection to the hub in a config, with its certificates; nil if there is
// none.
func leafWithTLS(c *gatewayv1.Bus) (*bus.Leaf, error) {
	out, l := LeafOf(c), c.GetLeaf()
	if out == nil || l.Tls == nil {
		return out, nil
	}
	var err error
	if out.TLS, err = tlsfiles.ClientOf(l.Tls).Config(""); err != nil {
		return nil, fmt.Errorf("leaf: %w", err)
	}
	return out, nil
}

// LeafOf returns the connection to the hub in a config, without the certificates for it; nil if
// there is none.
func LeafOf(c *gatewayv1.Bus) *bus.Leaf {
	l := c.GetLeaf()
	if l == nil {
		return nil
	}
	out := &bus.Leaf{URLs: l.Urls, Key: l.NkeyFile, Credentials: l.CredsFile, Calls: l.Calls, Tracks: l.Tracks, Reconnect: l.Reconnect.AsDuration()}
	for _, class := range l.Subscribe {
		out.Subscribe = append(out.Subscribe, bus.Class(class))
	}
	return out
}
