//go:build lab

package lab_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"gatewayd/lab"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/sim"
)

const (
	adapter = "adapter"
	// The adapter's place in the machine: port 1 of the controller at 10.0. The name under which an operator would configure it.
	byPath = "/dev/serial/by-path/pci-0000:00:10.0-usb-0:1:1.0-port0"
)

// line is the far end of the USB serial adapter, on the host: a wire with one Modbus RTU unit, whose register 0 is 42.
type line struct {
	socket string
	meter  *sim.Device
}

func newLine(t *testing.T) *line {
	t.Helper()
	folder, err := os.MkdirTemp("", "line") // short: a unix socket's path has 107 bytes at most
	must(t, err)
	l := &line{socket: filepath.Join(folder, "s"), meter: sim.NewDevice(1)}
	l.meter.Put(sim.HoldingRegisters, 0, 42)
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
		if err := <-served; err != nil {
			t.Errorf("the line: %v", err)
		}
		os.RemoveAll(folder)
	})
	return l
}

// qemu is the controller, the line and the plugged adapter.
func (l *line) qemu() []string {
	return []string{
		"-device qemu-xhci,id=usb,addr=10.0",
		"-chardev socket,id=line,path=" + l.socket,
		"-device usb-serial,id=" + adapter + ",chardev=line,bus=usb.0,port=1",
	}
}

func (l *line) plug(ctx context.Context, m *lab.Machine) error {
	return m.Plug(ctx, "usb-serial", adapter, map[string]any{"chardev": "line", "bus": "usb.0", "port": "1"})
}
