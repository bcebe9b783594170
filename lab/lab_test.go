//go:build lab

package lab_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatewayd/lab"
)

// gatewayd is the daemon under test, built from the working tree by TestMain.
var gatewayd string

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "lab-programs")
	if err == nil {
		gatewayd, err = lab.Build(context.Background(), folder, "./cmd/gatewayd")
	}
	if err == nil {
		err = flag.Set("test.parallel", "2") // each machine uses a full CPU; the command line takes precedence
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(folder)
		os.Exit(code)
	}))
}

// start runs a story, a shell script, in a machine that ends with the test. The daemon,
// testdata/gateway.sh and the configs are in its working directory.
func start(t *testing.T, o lab.Options, story string) (context.Context, *lab.Machine) {
	t.Helper()
	o.Files = append(o.Files, gatewayd, "testdata/gateway.sh", "testdata/quiet.toml", "testdata/starve.toml", "testdata/usb.toml")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	m, err := lab.Start(ctx, o, ". ./gateway.sh\n"+story)
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
