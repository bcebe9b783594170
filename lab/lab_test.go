//go:build lab

package lab_test

import (
	"context"
	"testing"
	"time"

	"gatewayd/lab"
)

// start boots a machine that dies with the test and runs the command with the given program's binary beside it.
func start(t *testing.T, pkg string, o lab.Options, command string) (context.Context, *lab.Machine) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	t.Cleanup(cancel)
	binary, err := lab.Build(ctx, t.TempDir(), pkg)
	if err != nil {
		t.Fatal(err)
	}
	o.Files = append(o.Files, binary)
	m, err := lab.Start(ctx, o, command)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s\nconsole:\n%s\nqemu:\n%s", m.Log(), m.Console(), m.File("qemu"))
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return ctx, m
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, ctx context.Context, m *lab.Machine, want int) {
	t.Helper()
	code, err := m.Wait(ctx)
	must(t, err)
	if code != want {
		t.Fatalf("the machine ended with %d, not %d", code, want)
	}
}
