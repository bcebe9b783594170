package demo

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// invocation is what a shell runs this program by once more: the way that it was run now, if it is not at hand by its name.
func invocation() string {
	parent, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", os.Getppid()))
	if by, ok := goRun(strings.Split(string(bytes.TrimRight(parent, "\x00")), "\x00"), len(os.Args)-1); ok {
		return by
	}
	if _, err := exec.LookPath("gatewayd"); err == nil {
		return "gatewayd"
	}
	return os.Args[0]
}

// goRun is the beginning of a command line that ends with so many arguments of ours, if it is one of "go run".
func goRun(line []string, args int) (by string, ok bool) {
	n := len(line) - args
	if n < 3 || filepath.Base(line[0]) != "go" || line[1] != "run" {
		return "", false
	}
	return "go " + strings.Join(line[1:n], " "), true
}
