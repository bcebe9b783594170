//go:build lab

package lab_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"gatewayd/lab"
)

// chip describes a machine with Intel's i6300esb, which remembers that it caused the reset.
func chip() lab.Options {
	return lab.Options{
		Modules: []string{"i6300esb"},
		QEMU:    []string{"-device i6300esb -action watchdog=reset"},
		Reboot:  true,
	}
}

func TestGatewayStarvedRootResets(t *testing.T) {
	t.Parallel()
	ctx, m := start(t, chip(), `
		gateway starve.toml
		[ $LAB_BOOT = 2 ] && listening && ask watch -n 1 state/root/boot
		wait
		sleep 60 # whatever became of the daemon: only the chip ends this boot
	`)
	must(t, m.Await(ctx, `last-end="first start"`))
	must(t, m.Await(ctx, `msg="watchdog is starved" path=field`))
	must(t, m.Event(ctx, "WATCHDOG"))
	must(t, m.Await(ctx, `last-end="the watchdog was starved by field: field/meter: told to fail (hardware: card-reset)"`))
	must(t, m.Await(ctx, `{"lastEnd":"starved","who":"field","why":"field/meter: told to fail","hardwareReset":true,`))
}

func TestGatewayFrozenIsReset(t *testing.T) {
	t.Parallel()
	ctx, m := start(t, chip(), `
		gateway quiet.toml
		[ $LAB_BOOT = 1 ] && armed 5 && kill -STOP $!
		wait
	`)
	must(t, m.Event(ctx, "WATCHDOG"))
	must(t, m.Await(ctx, `last-end="the hardware watchdog reset the machine, which had hung (hardware: card-reset)"`))
}

func TestGatewaySoftdog(t *testing.T) {
	t.Parallel()
	const softdog = "softdog: Initiating system reboot"
	end := func(t *testing.T, modprobe, signal string, seconds int, then string) (context.Context, *lab.Machine) {
		t.Parallel()
		return start(t, lab.Options{}, fmt.Sprintf(`
			%[1]s
			sed -i s/5s/%[3]ds/ quiet.toml
			gateway quiet.toml
			armed %[3]d
			kill -%[2]s $!
			wait $!
			echo "ended $?, card $(cat $card/state)"
			%[4]s
			sleep %[5]d # longer than the card waits
			echo survived
		`, modprobe, signal, seconds, then, seconds+2))
	}
	t.Run("clean stop", func(t *testing.T) {
		ctx, m := end(t, "modprobe softdog", "TERM", 5, "")
		must(t, m.Await(ctx, "ended 0, card inactive\nsurvived\n"))
		wantCode(t, ctx, m, 0)
	})
	t.Run("nowayout", func(t *testing.T) {
		ctx, m := end(t, "modprobe softdog nowayout=1", "TERM", 5, "")
		must(t, m.Await(ctx, "cannot be disarmed (nowayout): it resets the machine in 5s unless petted"))
		must(t, m.Await(ctx, "ended 0, card active\n"))
		wantReset(t, ctx, m, softdog)
	})
	t.Run("killed", func(t *testing.T) {
		ctx, m := end(t, "modprobe softdog", "KILL", 5, "")
		must(t, m.Await(ctx, "ended 137, card active\n"))
		wantReset(t, ctx, m, softdog)
	})
	t.Run("killed and started again", func(t *testing.T) {
		ctx, m := end(t, "modprobe softdog", "KILL", 15, "gateway quiet.toml") // a busy host needs 4 s to start it
		must(t, m.Await(ctx, "ended 137, card active\n"))
		must(t, m.Await(ctx, `last-end="the process ended without a stop`))
		must(t, m.Await(ctx, "survived\n"))
		wantCode(t, ctx, m, 0)
	})
}

// wantReset waits for a reset that the kernel announced.
func wantReset(t *testing.T, ctx context.Context, m *lab.Machine, announced string) {
	t.Helper()
	wantCode(t, ctx, m, lab.CodeDied)
	if !strings.Contains(m.Console(), announced) {
		t.Fatalf("the machine ended, but not by %q", announced)
	}
	if strings.Contains(m.Log(), "survived") {
		t.Fatal("the reset came too late")
	}
}
