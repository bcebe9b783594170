//go:build lab

package lab_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatewayd/lab"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/sim"
)

const (
	adapter = "adapter"
	// The adapter's place in the machine: port 1 of the controller at 10.0. usb.toml uses this
	// name, as an operator would.
	byPath = "/dev/serial/by-path/pci-0000:00:10.0-usb-0:1:1.0-port0"
	// comeback bounds the time from the port's name to a good sample: a fraction of a second on
	// real hardware.
	comeback = 3 * time.Second
)

func TestGatewayUSBSerialReplug(t *testing.T) {
	t.Parallel()
	// A leaked descriptor keeps the first ttyUSB0 alive, so that only the by-path name still finds
	// the adapter.
	for _, c := range []struct{ name, leak, node string }{
		{"free", "", "/dev/ttyUSB0"},
		{"node held", "sleep 110 < $port &", "/dev/ttyUSB1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			line := newLine(t, 42)
			ctx, m := start(t, line.options(), `
				port=`+byPath+`
				until [ -e $port ]; do usleep 20000; done
				`+c.leak+`
				gateway usb.toml
				listening
				ask watch 'data/#' &
				until [ ! -e $port ]; do usleep 20000; done
				until [ -e $port ]; do usleep 20000; done
				echo "$(readlink -f $port) since $(stat -c %y $port)" > out/back
				wait
			`)
			must(t, m.Await(ctx, `"samples":[{"point":"level","number":42}]`))
			must(t, m.Unplug(ctx, adapter))
			must(t, m.Await(ctx, `"number":42,"quality":"stale","cause":"line unplugged: `+byPath+`"`))
			line.meter.Put(sim.HoldingRegisters, 0, 43)
			must(t, line.plug(ctx, m))
			good := `"samples":[{"point":"level","number":43}]`
			must(t, m.Await(ctx, good))
			for m.File("back") == "" { // the daemon was faster than the shell
				must(t, m.Await(ctx, good))
			}
			if took := timeOf(t, m.Log(), good).Sub(backAt(t, m.File("back"), c.node)); took > comeback {
				t.Errorf("the first good sample came %s after the port", took)
			} else {
				t.Logf("the first good sample came %s after the port", took)
			}
		})
	}
}

// backAt returns when the port's name appeared, leading to node.
func backAt(t *testing.T, line, node string) time.Time {
	t.Helper()
	got, since, _ := strings.Cut(strings.TrimSpace(line), " since ")
	if got != node {
		t.Errorf("the adapter came back as %q, not %s", got, node)
	}
	at, err := time.Parse("2006-01-02 15:04:05 -0700", since)
	must(t, err)
	return at
}

// timeOf returns the time of the first message with the samples.
func timeOf(t *testing.T, log, samples string) time.Time {
	t.Helper()
	found := regexp.MustCompile(`"time":"([^"]+)"[^\n]*` + regexp.QuoteMeta(samples)).FindStringSubmatch(log)
	if found == nil {
		t.Fatalf("no %s in the log", samples)
	}
	at, err := time.Parse(time.RFC3339Nano, found[1])
	must(t, err)
	return at
}

func TestGatewayUSBSerialCycle(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, spoil, proof string }{
		{"driver", "", "ftdi_sio 1-1:1.0: device disconnected"},
		{"socket", "mount --bind /dev/full /sys/bus/usb/drivers/ftdi_sio/unbind", "usb 1-1: authorized to connect"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, m := start(t, newLine(t, 42).options(), c.spoil+`
				gateway usb.toml
				listening
				ask watch -n 3 'data/#'
				ask call field/rs485/line Cycle
				until dmesg | grep '`+c.proof+`'; do usleep 50000; done
				ask watch 'data/#'
			`)
			good := `"samples":[{"point":"level","number":42}]`
			must(t, m.Await(ctx, good))
			must(t, m.Await(ctx, c.proof))
			must(t, m.Await(ctx, good))
		})
	}
}

// line is the far end of the USB serial adapter, on the host: a wire with one Modbus RTU unit.
type line struct {
	socket string
	meter  *sim.Device
}

// newLine returns a line whose unit has the level in register 0.
func newLine(t *testing.T, level uint16) *line {
	t.Helper()
	folder, err := os.MkdirTemp("", "line") // short: the path of a unix socket is limited to 107 bytes
	must(t, err)
	l := &line{socket: filepath.Join(folder, "s"), meter: sim.NewDevice(1)}
	l.meter.Put(sim.HoldingRegisters, 0, level)
	listener, err := net.Listen("unix", l.socket)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			err = sim.NewPlant(l.meter).ServeStream(ctx, conn, modbus.RTU)
		}
		served <- err
	}()
	t.Cleanup(func() {
		cancel()
		listener.Close()
		// The machine may have ended in the middle of a transaction.
		if err := <-served; err != nil && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Errorf("the line: %v", err)
		}
		os.RemoveAll(folder)
	})
	return l
}

// options returns those of a machine with the controller, the line and the plugged adapter.
func (l *line) options() lab.Options {
	return lab.Options{
		Modules: []string{"xhci_pci", "ftdi_sio"},
		QEMU: []string{
			"-device qemu-xhci,id=usb,addr=10.0",
			"-chardev socket,id=line,path=" + l.socket,
			"-device usb-serial,id=" + adapter + ",chardev=line,bus=usb.0,port=1",
		},
	}
}

func (l *line) plug(ctx context.Context, m *lab.Machine) error {
	return m.Plug(ctx, "usb-serial", adapter, map[string]any{"chardev": "line", "bus": "usb.0", "port": "1"})
}
