package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gatewayd/protocols/freeport"
)

// build builds a stripped binary of one of our commands.
func build(ctx context.Context, out, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w: %s", pkg, err, strings.TrimSpace(string(text)))
	}
	return nil
}

// process is a process under measurement.
type process struct {
	*exec.Cmd
	log  string
	mqtt int // port, if known
}

// settle waits until the start of a daemon is over. In its first five seconds a daemon collects
// garbage as often as possible, to keep little of what only the start needs, and returns its own
// pages. Speed is measured after that.
func settle() { time.Sleep(6 * time.Second) }

// launch starts a program with its output in a file.
func launch(log string, name string, args ...string) (*process, error) {
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &process{Cmd: cmd, log: log}, nil
}

func (p *process) usage() (usage, error) {
	u, err := usageOf(strconv.Itoa(p.Process.Pid))
	if err != nil {
		text, _ := os.ReadFile(p.log)
		return u, fmt.Errorf("%s has ended: %s", filepath.Base(p.Path), lastLine(string(text)))
	}
	return u, nil
}

// end stops the process and waits for its end.
func (p *process) end() {
	_ = p.Process.Signal(syscall.SIGTERM)
	hard := time.AfterFunc(10*time.Second, func() { _ = p.Process.Kill() })
	_ = p.Wait()
	hard.Stop()
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// freePorts returns n TCP ports on loopback that were free a moment ago.
func freePorts(n int) (ports []int, err error) {
	for range n {
		p, err := freeport.Find()
		if err != nil {
			return nil, err
		}
		ports = append(ports, p)
	}
	return ports, nil
}

// reachable waits until something listens on a port on loopback.
func reachable(port int, limit time.Duration) error {
	addr := "127.0.0.1:" + strconv.Itoa(port)
	return until("somebody listens on "+addr, limit, func() bool {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}
