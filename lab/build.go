package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Build compiles a main package of this module (e.g. "./cmd/gatewayd") for the guest, statically,
// into folder.
func Build(ctx context.Context, folder, pkg string) (string, error) {
	home, err := home()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(folder, filepath.Base(pkg))
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, pkg)
	cmd.Dir = filepath.Dir(home)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return binary, nil
}

// home returns the lab folder of the module that contains the working directory.
func home() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for folder := start; ; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "lab", "lab.sh")); err == nil {
			return filepath.Join(folder, "lab"), nil
		}
		if folder == filepath.Dir(folder) {
			return "", fmt.Errorf("no lab/lab.sh above %s", start)
		}
	}
}

func stderr(err error) []byte {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.Stderr
	}
	return nil
}
