//go:build lab

package lab_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatewayd/lab"
)

const guest = "./lab/guest"

// programs are the binaries by package, built once for all tests.
type programs struct {
	folder string
	built  map[string]string
}

// bench is set by TestMain; tests run one at a time, because machines do.
var bench programs

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "lab-programs")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	bench = programs{folder: folder, built: map[string]string{}}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(folder)
		os.Exit(code)
	}))
}

func (p *programs) program(t *testing.T, pkg string) string {
	t.Helper()
	if p.built[pkg] == "" {
		binary, err := lab.Build(t.Context(), p.folder, pkg)
		must(t, err)
		p.built[pkg] = binary
	}
	return p.built[pkg]
}

// start boots a machine that dies with the test and runs the command with the given program's binary beside it.
func start(t *testing.T, pkg string, o lab.Options, command string) (context.Context, *lab.Machine) {
	t.Helper()
	o.Files = append(o.Files, bench.program(t, pkg))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	m, err := lab.Start(ctx, o, command)
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() || testing.Verbose() {
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
