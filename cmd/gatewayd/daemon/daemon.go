// Package daemon runs a gateway in this process: its bus, the tree of its actors, the watchdog, and
// the reports to its clients and its fleet.
package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/bus"
	"gatewayd/cmd/gatewayd/files"
	configv1 "gatewayd/schemas/config/v1"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	mqttv1 "gatewayd/schemas/mqtt/v1"
	"gatewayd/supervisor"
	"gatewayd/supervisor/config"
	"gatewayd/supervisor/watchdog"
)

// Gateway is a gateway that runs in this process.
type Gateway struct {
	Bus     *bus.Bus
	Starved chan watchdog.Cause // receives the cause when nothing is left to heal it with

	log    *slog.Logger
	cfg    *config.Tree
	lock   *os.File
	url    string // file with the URL of the bus
	book   *watchdog.Book
	system *actors.System
	tree   *supervisor.Tree
	keeper *watchdog.Keeper
	notify *watchdog.Systemd

	petting context.CancelFunc
	petted  chan struct{}
	untold  func() // ends the reports to the fleet; nil: there are none
}

// stopTime is the time limit of a clean stop.
const stopTime = 60 * time.Second

// Start starts a gateway as cfg says, with these kinds and the bus, and its data in dir. It returns
// once the tree has been started; systemd is told that the gateway is ready on the first evidence
// that it works.
func Start(kinds []actors.Kind, cfg *config.Tree, source supervisor.Source, dir string, log *slog.Logger) (d *Gateway, err error) {
	d = &Gateway{log: log, cfg: cfg, Starved: make(chan watchdog.Cause, 1)}
	defer func() {
		if err != nil {
			d.abort()
		}
	}()
	if d.lock, err = files.Lock(dir); err != nil {
		return d, err
	}
	root := cfg.Root.Config.(*gatewayv1.Gateway)
	dog, device, err := d.dog(root.Watchdog)
	if err != nil {
		return d, err
	}
	var status watchdog.BootStatus
	if device != nil {
		status, _ = device.BootStatus()
	}
	book, previous := watchdog.Open(watchdog.BookConfig{Dir: dir, BootStatus: status, Log: log})
	d.book = book
	plan := book.Plan()
	log.Info("starting", "gateway", root.Gateway, "version", actors.Build(), "last-end", previous.String(), "mode", string(plan.Mode))

	for _, w := range cfg.Warnings {
		log.Warn("config", "warning", w.String())
	}
	busConfig := cfg.Find("bus").Config.(*gatewayv1.Bus)
	var door *natsDoor
	if d.Bus, door, err = startBus(root.Gateway, busConfig, dir, log); err != nil {
		return d, err
	}
	if err := d.tellAddress(dir); err != nil { // a full or read-only disk does not prevent polling
		log.Warn("cannot write the bus address for local clients", "err", err)
	}
	d.system = actors.NewSystem(root.Gateway, d.Bus.Conn(), log)
	d.system.Dir = filepath.Join(dir, "actors")
	d.Bus.OnRestart(func() {
		d.system.Republish()
		if err := d.tellAddress(dir); err != nil {
			log.Warn("cannot write the bus address for local clients", "err", err)
		}
	})
	if _, err = d.system.Serve(); err != nil {
		return d, err
	}
	if _, err = d.Bus.ServeCatalogue(d.catalogue); err != nil {
		return d, err
	}
	d.Bus.Expect(readers(kinds, cfg))
	d.tree = supervisor.New(supervisor.Options{
		System: d.system, Kinds: append(slices.Clone(kinds), supervisor.BusKind(d.Bus, busConfig, door)), Source: source,
		SafeMode: plan.Mode == watchdog.Safe,
		Starve: func(path, why string) {
			log.Error("all recovery steps have failed: the watchdog will restart the gateway", "who", path, "why", why)
			d.keeper.Starve(watchdog.Cause{Path: path, Reason: why})
		},
		Settled: func(cfg *config.Tree) {
			d.Bus.Expect(readers(kinds, cfg))
			d.Bus.ForgetOthers()
		},
		Held: func() time.Duration { return d.keeper.Health().Hold },
	})
	if err = d.keep(dog, device, root.Watchdog, plan); err != nil {
		return d, err
	}
	if _, err = source.Keep(cfg.Text.Bytes()); err != nil {
		log.Warn("config history", "err", err)
	}
	d.tellBoot(previous, plan)
	if err = d.tree.Start(cfg); err != nil {
		return d, err
	}
	d.pet()
	if busConfig.Leaf != nil {
		if d.untold, err = d.tellFleet(); err != nil {
			return d, err
		}
	}
	d.ready(root.Gateway)
	return d, nil
}

// readers returns the paths of the actors in a config that read tracks and keep a read position.
func readers(kinds []actors.Kind, cfg *config.Tree) (paths []string) {
	cfg.Walk(func(n *config.Node) {
		if slices.ContainsFunc(kinds, func(k actors.Kind) bool { return k.Name == n.Kind && k.Place }) {
			paths = append(paths, n.Path)
		}
	})
	return paths
}

// ready logs the addresses of the gateway.
func (d *Gateway) ready(gateway string) {
	_, n := files.Count(d.cfg)
	args := []any{"gateway", gateway, "actors", n}
	if addr := d.Bus.Addr(); addr != "" {
		args = append(args, "nats", d.scheme()+reachable(addr))
	}
	d.cfg.Walk(func(n *config.Node) {
		if b, ok := n.Config.(*mqttv1.Broker); ok {
			args = append(args, "mqtt", b.Listen)
		}
	})
	d.log.Info("ready", args...)
}

// dog returns the watchdog that restarts the gateway when nothing else helps: systemd, a device,
// both or none. The device is nil if none is configured.
func (d *Gateway) dog(c *gatewayv1.Watchdog) (watchdog.Watchdog, *watchdog.Device, error) {
	systemd, err := watchdog.NewSystemd(os.Getenv, os.Getpid())
	if err != nil {
		return nil, nil, err
	}
	d.notify = systemd
	var device *watchdog.Device
	if c.GetDevice() != "" {
		device, err = watchdog.NewDevice(watchdog.DeviceConfig{Path: c.Device, Timeout: c.Timeout.AsDuration()})
		if err != nil {
			return nil, nil, err
		}
	}
	switch {
	case systemd != nil && device != nil:
		return watchdog.Pair{First: systemd, Behind: device}, device, nil
	case systemd != nil:
		return systemd, nil, nil
	case device != nil:
		return device, device, nil
	default:
		return watchdog.None{}, nil, nil
	}
}

// keep makes the keeper of the watchdog; its times run from now.
func (d *Gateway) keep(dog watchdog.Watchdog, device *watchdog.Device, c *gatewayv1.Watchdog, plan watchdog.Plan) (err error) {
	d.keeper, err = watchdog.NewKeeper(watchdog.Config{
		Watchdog: dog, Probe: d.tree.Evidence, Book: d.book, Timeout: c.GetTimeout().AsDuration(), Init: c.GetGrace().AsDuration(),
		Hold: plan.Hold, Stop: stopTime, Log: d.log,
		Starved: func(cause watchdog.Cause) {
			if device != nil { // starved before it was armed: it must fire after this process has ended
				if _, err := device.Arm(); err != nil {
					d.log.Error("arm the watchdog", "err", err)
				}
			}
			d.Starved <- cause
		},
	})
	return err
}

// pet starts petting the watchdog.
func (d *Gateway) pet() {
	ctx, cancel := context.WithCancel(context.Background())
	d.petting, d.petted = cancel, make(chan struct{})
	go func() {
		defer close(d.petted)
		d.keeper.Run(ctx)
	}()
}

// tellBoot publishes the record of the previous end, and from now on keeps the last events for the
// next one.
func (d *Gateway) tellBoot(previous watchdog.Previous, plan watchdog.Plan) {
	conn, gateway := d.Bus.Conn(), d.Bus.Gateway()
	boot := &gatewayv1.Boot{
		LastEnd: string(previous.Outcome), Who: previous.Cause.Path, Why: previous.Cause.Reason,
		HardwareReset: previous.BootStatus.CardReset(), SafeMode: plan.Mode == watchdog.Safe,
	}
	for _, e := range previous.Record.Events {
		past := &structpb.Struct{}
		if err := protojson.Unmarshal([]byte(e), past); err != nil { // cut off by the crash or power cut it tells of
			past = &structpb.Struct{Fields: map[string]*structpb.Value{"text": structpb.NewStringValue(strings.ToValidUTF8(string(e), "�"))}}
		}
		boot.Events = append(boot.Events, past)
	}
	if err := conn.Publish(bus.Subject(gateway, bus.State, supervisor.Root, "boot"), boot); err != nil {
		d.log.Warn("boot record not published", "err", err)
	}
	_, err := conn.Subscribe("gw."+gateway+".event.>", func(m bus.Msg) {
		line, err := json.Marshal(map[string]any{"subject": m.Subject, "event": json.RawMessage(m.Data)})
		if err == nil {
			d.book.Event(string(line))
		}
	})
	if err != nil {
		d.log.Warn("events are not kept in the boot record", "err", err)
	}
}

// reload applies the config file.
func (d *Gateway) reload(ctx context.Context) {
	if d.notify != nil {
		_ = d.notify.Reloading()
		defer func() { _ = d.notify.Ready() }()
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	resp, err := d.system.Call(ctx, "config", "Reload", &configv1.ReloadRequest{})
	if err != nil {
		d.log.Error("reload", "err", err)
		return
	}
	r := resp.(*configv1.ReloadResponse)
	for _, p := range r.Problems {
		d.log.Error("the config was not reloaded", "problem", fmt.Sprintf("%s:%d: %s: %s", p.File, p.Line, p.Key, p.Message))
	}
	if len(r.Problems) == 0 {
		d.log.Info("config reloaded", "version", r.Version, "changes", len(r.Changes))
	}
}

// Stop stops everything in order, within stopTime, and leaves no file half-written.
func (d *Gateway) Stop() error {
	d.log.Info("stopping")
	d.keeper.Stopping()
	ctx, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	err := d.tree.Stop(ctx)
	if d.untold != nil {
		d.untold()
	}
	d.Bus.Close()
	err = errors.Join(err, d.book.Close(err == nil))
	d.petting()
	<-d.petted
	_ = os.Remove(d.url)
	_ = d.lock.Close()
	return err
}

// abort undoes a start that failed.
func (d *Gateway) abort() {
	if d.petting != nil {
		d.petting()
		<-d.petted
	}
	if d.Bus != nil {
		d.Bus.Close()
	}
	if d.book != nil {
		_ = d.book.Close(true) // a start that reports why it failed is no crash
	}
	if d.lock != nil {
		_ = d.lock.Close()
	}
}
