//go:build lab

package lab_test

import (
	"context"
	"strings"
	"testing"

	"gatewayd/lab"
)

// These prove the lab itself, with a guest program of its own: when they fail, nothing else here means anything.

func TestStarvedI6300ESBResets(t *testing.T) {
	ctx, m := start(t, "./lab/guest", lab.Options{
		Files:   []string{"testdata/starve.sh"},
		Modules: []string{"i6300esb"},
		QEMU:    []string{"-device i6300esb -action watchdog=reset"},
		Reboot:  true,
	}, "sh ./starve.sh")
	must(t, m.Await(ctx, "boot status 0\nstarving\n"))
	must(t, m.Event(ctx, "WATCHDOG"))
	// 32 is WDIOF_CARDRESET: the chip remembers that it was it.
	must(t, m.Await(ctx, "bootstatus 32\nrecord starved on purpose\n"))
	wantCode(t, ctx, m, 0)
}

func TestSoftdog(t *testing.T) {
	t.Run("magic close", func(t *testing.T) {
		ctx, m := startSoftdog(t, "TERM")
		must(t, m.Await(ctx, "ended 0\nsurvived\n"))
		wantCode(t, ctx, m, 0)
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
}

func startSoftdog(t *testing.T, signal string) (context.Context, *lab.Machine) {
	t.Helper()
	return start(t, "./lab/guest", lab.Options{
		Files:   []string{"testdata/softdog.sh"},
		Modules: []string{"softdog"},
	}, "sh ./softdog.sh "+signal)
}

func TestUSBSerialReplug(t *testing.T) {
	line := newLine(t)
	ctx, m := start(t, "./lab/guest", lab.Options{
		Modules: []string{"xhci_pci", "ftdi_sio"},
		QEMU:    line.qemu(),
	}, "exec ./guest poll "+byPath)
	for range 2 {
		must(t, m.Await(ctx, "answer 2a 2a\n"))
		must(t, m.Unplug(ctx, adapter))
		must(t, m.Await(ctx, "lost: "))
		must(t, line.plug(ctx, m))
	}
	must(t, m.Await(ctx, "answer 2a 2a\n"))
}
