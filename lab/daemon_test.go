//go:build lab

package lab_test

import (
	"context"
	"strings"
	"testing"

	"gatewayd/lab"
)

const (
	daemon = "./cmd/gatewayd"
	run    = "./gatewayd run --data out/data --config "
)

func TestGatewayStarvedRootResets(t *testing.T) {
	ctx, m := start(t, daemon, lab.Options{
		Files:   []string{"testdata/starve.toml"},
		Modules: []string{"i6300esb"},
		QEMU:    []string{"-device i6300esb -action watchdog=reset"},
		Reboot:  true,
	}, "exec "+run+"starve.toml")
	must(t, m.Await(ctx, `last-end="first start"`))
	must(t, m.Await(ctx, `msg="watchdog starves" path=field`))
	must(t, m.Event(ctx, "WATCHDOG"))
	must(t, m.Await(ctx, `last-end="the watchdog was starved by field: field/meter: `))
	must(t, m.Await(ctx, "(hardware: card-reset)"))
}

func TestGatewaySoftdog(t *testing.T) {
	t.Run("clean stop", func(t *testing.T) {
		ctx, m := startGateway(t, "TERM")
		must(t, m.Await(ctx, "ended 0\nsurvived\n"))
		wantCode(t, ctx, m, 0)
		if first := m.File("first"); strings.Contains(first, "cannot stop") {
			t.Fatal(first)
		}
	})
	t.Run("killed", func(t *testing.T) {
		ctx, m := startGateway(t, "KILL")
		must(t, m.Await(ctx, "ended 137\n"))
		wantCode(t, ctx, m, lab.CodeDied)
		if !strings.Contains(m.Console(), "softdog: Initiating system reboot") {
			t.Fatal("the machine ended, but not by softdog")
		}
	})
}

func startGateway(t *testing.T, signal string) (context.Context, *lab.Machine) {
	t.Helper()
	return start(t, daemon, lab.Options{
		Files:   []string{"testdata/gateway.sh", "testdata/quiet.toml"},
		Modules: []string{"softdog"},
	}, "sh ./gateway.sh "+signal)
}
