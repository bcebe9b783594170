//go:build lab

package lab_test

import (
	"context"
	"strings"
	"testing"

	"gatewayd/lab"
)

// These prove the lab and the packages that touch the kernel, with a guest program of a page: when they fail, the
// daemon's own inhabitants mean nothing.

func TestStarvedRootResets(t *testing.T) {
	ctx, m := start(t, guest, lab.Options{
		Files:   []string{"testdata/starve.toml"},
		Modules: []string{"i6300esb"},
		QEMU:    []string{"-device i6300esb -action watchdog=reset"},
		Reboot:  true,
	}, "mkdir -p out/data; exec ./guest tree starve.toml out/data")
	must(t, m.Await(ctx, "previous: first start\n"))
	must(t, m.Event(ctx, "WATCHDOG"))
	must(t, m.Await(ctx, "previous: the watchdog was starved by field: field/meter: no such port (hardware: card-reset)\n"))
	wantCode(t, ctx, m, 0)
}

func TestFrozenProcessIsReset(t *testing.T) {
	ctx, m := start(t, guest, lab.Options{
		Files:   []string{"testdata/freeze.sh"},
		Modules: []string{"i6300esb"},
		QEMU:    []string{"-device i6300esb -action watchdog=reset"},
		Reboot:  true,
	}, "sh ./freeze.sh")
	must(t, m.Event(ctx, "WATCHDOG"))
	must(t, m.Await(ctx, "previous: the hardware watchdog reset the machine, which had hung (hardware: card-reset)\n"))
}

func TestSoftdog(t *testing.T) {
	t.Run("magic close", func(t *testing.T) {
		ctx, m := startSoftdog(t, "TERM")
		must(t, m.Await(ctx, "ended 0\nsurvived\n"))
		wantCode(t, ctx, m, 0)
		if first := m.File("first"); strings.Contains(first, "cannot stop") {
			t.Fatal(first)
		}
	})
	t.Run("nowayout", func(t *testing.T) {
		ctx, m := start(t, guest, lab.Options{Files: []string{"testdata/nowayout.sh"}}, "sh ./nowayout.sh")
		must(t, m.Await(ctx, "ended 0\n"))
		must(t, m.Await(ctx, "cannot be disarmed (nowayout): it resets the machine in 5s unless petted"))
		wantCode(t, ctx, m, lab.CodeDied)
	})
	t.Run("killed", func(t *testing.T) {
		ctx, m := startSoftdog(t, "KILL")
		must(t, m.Await(ctx, "ended 137\n"))
		wantCode(t, ctx, m, lab.CodeDied)
		if strings.Contains(m.Log(), "survived") {
			t.Fatal("softdog did not reset the machine in time")
		}
		if !strings.Contains(m.Console(), "softdog: Initiating system reboot") {
			t.Fatal("the machine ended, but not by softdog")
		}
	})
	t.Run("killed and started again", func(t *testing.T) {
		ctx, m := startSoftdog(t, "KILL again")
		must(t, m.Await(ctx, "ended 137\nprevious: the process ended without a stop"))
		must(t, m.Await(ctx, "survived\n"))
		wantCode(t, ctx, m, 0)
	})
}

func startSoftdog(t *testing.T, arguments string) (context.Context, *lab.Machine) {
	t.Helper()
	return start(t, guest, lab.Options{
		Files:   []string{"testdata/softdog.sh"},
		Modules: []string{"softdog"},
	}, "sh ./softdog.sh "+arguments)
}

func TestUSBSerialReplug(t *testing.T) {
	for _, c := range []struct{ name, command, node string }{
		{"port closed", "exec ./guest poll " + byPath, "/dev/ttyUSB0"},
		{"port held", "sh ./held.sh " + byPath, "/dev/ttyUSB1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			line := newLine(t)
			ctx, m := start(t, guest, lab.Options{
				Files:   []string{"testdata/held.sh"},
				Modules: []string{"xhci_pci", "ftdi_sio"},
				QEMU:    line.qemu(),
			}, c.command)
			must(t, m.Await(ctx, "opened /dev/ttyUSB0\nanswer 42\n"))
			must(t, m.Unplug(ctx, adapter))
			must(t, m.Await(ctx, "gone: "))
			must(t, line.plug(ctx, m))
			must(t, m.Await(ctx, "opened "+c.node+"\nanswer 42\n"))
		})
	}
}

func TestUSBSerialCycle(t *testing.T) {
	ctx, m := start(t, guest, lab.Options{
		Modules: []string{"xhci_pci", "ftdi_sio"},
		QEMU:    newLine(t).qemu(),
	}, "exec ./guest cycle "+byPath)
	must(t, m.Await(ctx, "adapter 1-1 1-1:1.0 ftdi_sio 0403 6001\n"))
	for _, way := range []string{"driver", "socket"} {
		must(t, m.Await(ctx, way+" off: plugged true\nopened /dev/ttyUSB0\n"+way+" on: answer 42\n"))
	}
	wantCode(t, ctx, m, 0)
}
