// Package dtulistener implements the dtu-listener actor kind: the TCP port that DTUs dial. It hands
// each connection to the link that has claimed it and reports all others. It transfers no data
// itself.
package dtulistener

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/protocols/modbus/dtu"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Kind describes the dtu-listener actor kind.
var Kind = kind(&dtu.Registries{})

// kind keeps the claims of the links in registries, so that a restarted listener knows them at
// once.
func kind(desks *dtu.Registries) actors.Kind {
	return actors.Define(actors.Kind{
		Name:     "dtu-listener",
		Doc:      "One TCP port that DTUs dial; each is given to the link that knows its registration or address.",
		Services: []protoreflect.ServiceDescriptor{actors.Service(modbusv1.File_modbus_v1_dtu_proto, "DtuListenerService")},
		Publishes: []actors.Leaf{
			{Class: "event", Leaf: "refused", Message: &modbusv1.DtuRefused{}},
			{Class: "event", Leaf: "insecure", Message: &modbusv1.DtuInsecure{}},
		},
		Limit: 4096,
		Power: func(proto.Message) *actors.Power { return &actors.Power{} }, // a power cycle closes and reopens the port
		Check: check,
	}, func(cfg *modbusv1.DtuListener) actors.Actor {
		return &listener{cfg: cfg, registries: desks}
	})
}

const (
	startTime = 5 * time.Second
	// tellEvery is the interval between reports of refusals. They are limited because a port that
	// is open to the internet gets many unknown callers.
	tellEvery = 6 * time.Second
	// tellAtOnce is the number of refusals that may be reported without waiting.
	tellAtOnce = 20
)

type listener struct {
	cfg        *modbusv1.DtuListener
	registries *dtu.Registries
	registry   *dtu.Registry
	port       *dtu.Listener // nil until it listens
	told       meter
}

func (l *listener) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case actors.Started:
		return l.start(c)
	case *dtu.Listener:
		l.port = m
		c.OK()
	case *dtu.Claim:
		renewed, err := l.registry.Claim(m, time.Now())
		if err != nil {
			c.Refuse(err)
			return nil
		}
		if !renewed && l.port != nil {
			l.port.Retain(m)
		}
		c.Reply(dtu.Claimed{})
	case dtu.Release:
		l.registry.Release(m.Name)
		if l.port != nil {
			l.port.Drop(m.Name)
		}
	case dtu.Refusal:
		l.refused(c, m)
	case *modbusv1.CallersRequest:
		c.Reply(l.callers())
	case actors.Failed:
		return m.Err
	}
	return nil
}

func (l *listener) start(c *actors.Context) error {
	cfg, err := configOf(l.cfg)
	if err == nil {
		err = guarded(l.cfg)
	}
	if err != nil {
		return actors.Broken(err)
	}
	if schemas.Exposed(l.cfg.Listen) {
		const warning = "a client that knows a registration can impersonate its DTU"
		c.Log().Warn("insecure: "+warning, "listen", l.cfg.Listen)
		c.Warn("insecure: " + warning)
		c.Event("insecure", &modbusv1.DtuInsecure{Listen: l.cfg.Listen, Warning: warning})
	}
	l.registry = l.registries.Of(c.Name())
	post, desk := c.Post(), l.registry
	c.Do(startTime, func(context.Context) (any, error) {
		return dtu.Listen(cfg, desk, func(r dtu.Refusal) { _ = post(r) })
	})
	return nil
}

// check validates what the rules of single fields cannot express.
func check(config proto.Message) []schemas.Violation {
	cfg := config.(*modbusv1.DtuListener)
	_, err := configOf(cfg)
	return append(schemas.Wrong("listen", guarded(cfg)), schemas.Wrong("", err)...)
}

// guarded returns an error if other machines can reach the port and the config does not allow that.
func guarded(cfg *modbusv1.DtuListener) error {
	if schemas.Exposed(cfg.Listen) && !cfg.Insecure {
		return fmt.Errorf("listen = %q is outside loopback, and nothing there is encrypted or authenticated: "+
			"listen on 127.0.0.1 or set insecure = true", cfg.Listen)
	}
	return nil
}

func configOf(l *modbusv1.DtuListener) (dtu.Config, error) {
	cfg := dtu.Config{
		Listen: l.Listen, Length: int(l.Length), Within: l.RegisterWithin.AsDuration(),
		Pending: int(l.MaxPending), PendingPerAddress: int(l.MaxPendingPerAddress), PerAddress: int(l.MaxPerAddress),
		RefusalsPerMinute: int(l.RefusalsPerMinute),
	}
	var err error
	if cfg.Prefix, err = dtu.Bytes(l.Prefix); err != nil {
		return cfg, fmt.Errorf("prefix: %w", err)
	}
	for _, s := range l.Heartbeats {
		b, err := dtu.Bytes(s)
		if err == nil && len(b) == 0 {
			err = errors.New("a heartbeat is empty")
		}
		if err != nil {
			return cfg, fmt.Errorf("heartbeats: %w", err)
		}
		cfg.Beats = append(cfg.Beats, b)
	}
	return cfg, nil
}

func (l *listener) refused(c *actors.Context, r dtu.Refusal) {
	untold, tell := l.told.tell(time.Now())
	if tell {
		c.Event("refused", &modbusv1.DtuRefused{Address: r.From.String(), Sent: dtu.Show(r.Sent), Why: r.Why, Untold: untold})
	}
}

func (l *listener) callers() *modbusv1.CallersResponse {
	resp := &modbusv1.CallersResponse{Missing: l.registry.Names(time.Now())}
	if l.port == nil {
		return resp
	}
	calls, pending, refused := l.port.Calls()
	resp.Pending, resp.Refused = uint32(pending), refused
	for _, call := range calls {
		resp.Callers = append(resp.Callers, &modbusv1.DtuCaller{Link: call.Name, Address: call.From.String(), Since: timestamppb.New(call.Since)})
		if i := slices.Index(resp.Missing, call.Name); i >= 0 {
			resp.Missing = slices.Delete(resp.Missing, i, i+1)
		}
	}
	slices.SortFunc(resp.Callers, func(a, b *modbusv1.DtuCaller) int { return strings.Compare(a.Link, b.Link) })
	return resp
}

// meter limits the rate of reports: tellAtOnce in a row, then one per tellEvery.
type meter struct {
	full   time.Time // when tellAtOnce reports are available again
	untold uint64
}

func (m *meter) tell(now time.Time) (untold uint64, ok bool) {
	if m.full.Before(now) {
		m.full = now
	}
	if m.full.Sub(now) > (tellAtOnce-1)*tellEvery {
		m.untold++
		return 0, false
	}
	m.full = m.full.Add(tellEvery)
	untold, m.untold = m.untold, 0
	return untold, true
}
