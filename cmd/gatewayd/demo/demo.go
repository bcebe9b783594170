// Package demo is a gateway with a simulated plant, plug and two clouds, a live view of it, and a
// story that shows how it heals.
package demo

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"gatewayd/cmd/gatewayd/daemon"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/cmd/gatewayd/files"
	"gatewayd/cmd/gatewayd/look"
	"gatewayd/cmd/gatewayd/terminal"
)

//go:embed demo.toml
var demoConfig string

//go:embed meter.toml
var meterConfig string

// Command returns "demo", which runs the demo.
func Command(kinds files.Kinds) *cobra.Command {
	d := &demo{kinds: kinds}
	var drill bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a gateway with a simulated plant and show it live",
		Long: `Run a gateway in this process with a simulated plant: a PLC behind Modbus TCP, an
RS-485 line with a healthy, a slow, a flaky and a silent meter, and a Wi-Fi plug
that publishes over MQTT. Modbus masters reach the plant's live points on one
port, and the meters themselves on another. Records are sent to two simulated
clouds; the link to one of them is cut now and then, and the uplink catches up.
Nothing has to be installed or configured, and nothing is left behind. On a
terminal, the demo shows the live supervision tree.

--drill demonstrates how the gateway heals itself: it kills and hangs actors,
unplugs the serial adapter and starves the watchdog, and shows each step of the
recovery.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d.out = cmd.OutOrStdout()
			return d.run(cmd.Context(), drill)
		},
	}
	f := cmd.Flags()
	f.StringVar(&d.bus, "bus", "127.0.0.1:4222", "host:port of the bus; port 0 for any free one")
	f.StringVar(&d.mqtt, "mqtt", "127.0.0.1:1883", "host:port of the MQTT broker; port 0 for any free one")
	f.StringVar(&d.modbus, "modbus", "127.0.0.1:1502", "host:port on which Modbus masters reach the live points; port 0 for any free one")
	f.StringVar(&d.gateway, "gateway", "127.0.0.1:1503", "host:port on which Modbus masters reach the meters of the RS-485 line; port 0 for any free one")
	f.StringVar(&d.data, "data", "", "data directory of the gateway (default a temporary one, removed at the end)")
	f.BoolVar(&d.plain, "plain", false, "print lines instead of the live view, on a terminal too")
	f.BoolVar(&drill, "drill", false, "demonstrate the self-healing and exit")
	return cmd
}

// demo is a gateway and a plant in this process.
type demo struct {
	kinds           files.Kinds
	bus, mqtt       string
	modbus, gateway string
	data            string
	plain           bool
	out             io.Writer

	plant *Plant
	far   *clouds
	file  string // the config
	log   *slog.Logger
}

// run runs the demo until ctx ends, or the story to its end.
func (d *demo) run(ctx context.Context, drill bool) (err error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP) // the terminal was closed
	defer stop()
	for _, p := range []struct {
		addr *string
		flag string
	}{{&d.bus, "--bus"}, {&d.mqtt, "--mqtt"}, {&d.modbus, "--modbus"}, {&d.gateway, "--gateway"}} {
		if *p.addr, err = freePort(*p.addr, p.flag); err != nil {
			return err
		}
	}
	if d.data == "" {
		if d.data, err = os.MkdirTemp("", "gatewayd-demo-"); err != nil {
			return err
		}
		defer os.RemoveAll(d.data)
	}
	if d.data, err = filepath.Abs(d.data); err != nil {
		return err
	}
	if err := os.MkdirAll(d.data, 0o700); err != nil {
		return err
	}
	logFile, err := os.Create(filepath.Join(d.data, "gatewayd.log"))
	if err != nil {
		return err
	}
	defer logFile.Close()
	d.log = slog.New(slog.NewTextHandler(logFile, nil))
	if d.plant, err = StartPlant(d.data); err != nil {
		return err
	}
	defer d.plant.Close()
	if d.far, err = startClouds(!drill); err != nil {
		return err
	}
	defer d.far.close()
	defer startPlug(d.mqtt)()
	d.file = filepath.Join(d.data, "demo.toml")
	if err := files.Write(d.file, d.config()); err != nil {
		return err
	}
	switch {
	case drill:
		return newStory(d).tell(ctx)
	case !d.plain && terminal.Is(d.out):
		return d.show(ctx)
	}
	return d.print(ctx)
}

// freePort checks that a port is free, and chooses one for port 0.
func freePort(addr, flag string) (string, error) {
	l, err := net.Listen("tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "", fmt.Errorf("%s is in use: choose another with %s", addr, flag)
	case err != nil:
		return "", exit.Usage("%s %s: %v", flag, addr, err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// config returns the demo's config with all addresses filled in.
func (d *demo) config() []byte {
	var all strings.Builder
	for _, m := range meters() {
		all.WriteString(strings.NewReplacer("@about@", m.about, "@name@", m.name,
			"@unit@", strconv.Itoa(int(m.unit)), "@tolerate@", strconv.Itoa(m.tolerate)).Replace(meterConfig))
	}
	return []byte(strings.NewReplacer("@bus@", d.bus, "@mqtt@", d.mqtt, "@modbus@", d.modbus, "@gateway@", d.gateway,
		"@plug@", plugName, "@plc@", d.plant.PLC, "@line@", d.plant.Line.Path(),
		"@web@", d.far.web, "@archive@", d.far.archive, "@meters@\n", all.String()).Replace(demoConfig))
}

// start starts a gateway. The demo takes the place of the external watchdog and may start another
// one after a gateway has starved.
func (d *demo) start() (*daemon.Gateway, error) {
	cfg, problems := d.kinds.Load(d.file)
	if err := files.Refused(problems); err != nil {
		return nil, err
	}
	return daemon.Start(d.kinds, cfg, files.NewSource(d.kinds, d.file, d.data), d.data, d.log)
}

// bites is how long a gateway goes on after it has stopped petting the watchdog.
const bites = time.Second

// keepRunning runs one gateway after the other, as a watchdog does: a new one when the last has
// starved. n follows each of them from its start.
func (d *demo) keepRunning(ctx context.Context, n *news) error {
	for {
		g, err := d.start()
		if err != nil {
			return err
		}
		if err := n.follow(g); err != nil {
			return errors.Join(err, g.Stop())
		}
		select {
		case <-ctx.Done():
			n.unfollow()
			return g.Stop()
		case cause := <-g.Starved:
			n.starved(cause)
			select { // what it still publishes is printed
			case <-time.After(bites):
			case <-ctx.Done():
			}
			n.unfollow()
			_ = g.Stop() // the error does not matter; the ports must be free again
		}
	}
}

// print prints lines until ctx ends.
func (d *demo) print(ctx context.Context) error {
	n := newNews(d.units())
	p := terminal.Painter(d.out)
	fmt.Fprintln(d.out, strings.Join(d.hints(), "\n"))
	go n.print(ctx, func(l look.NewsLine) { fmt.Fprintln(d.out, l.Text(p)) })
	return d.keepRunning(ctx, n)
}

// units returns the physical units of all points, by actor and point.
func (d *demo) units() map[string]map[string]string {
	cfg, _ := d.kinds.Load(d.file)
	if cfg == nil {
		return nil
	}
	return look.UnitsOf(cfg)
}
