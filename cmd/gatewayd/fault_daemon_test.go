package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/bus"
	"gatewayd/cmd/gatewayd/files"
)

// faultWait is how long these tests wait for something that must happen. It only ends tests that
// hang.
const faultWait = time.Minute

// faultBinary builds the daemon once per test run, as it is shipped. Its file is removed while it
// is open, so that nothing is left behind.
var faultBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "gatewayd-fault-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "gatewayd")
	cmd := exec.Command("go", "build", "-o", file, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	fd, err := syscall.Open(file, syscall.O_RDONLY|syscall.O_CLOEXEC, 0) // stays open as long as this process lives
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd), err
})

// running is one life of the daemon process.
type running struct {
	t     *testing.T
	site  *site
	cmd   *exec.Cmd
	ended chan struct{}
	state *os.ProcessState // set once it has ended
	log   *faultLog
	conn  *bus.Conn
	took  time.Duration // from exec to the first answer
}

// start runs the daemon with the config and data of the site until its bus and its tree answer.
func (s *site) start() *running {
	s.t.Helper()
	s.write()
	r := s.exec()
	begin := time.Now()
	r.dial()
	r.until("the config actor answers", func() bool { return r.state1("config") == "ok" })
	r.took = time.Since(begin)
	return r
}

// exec starts the process and waits for nothing.
func (s *site) exec() *running {
	s.t.Helper()
	file, err := faultBinary()
	if err != nil {
		s.t.Fatal(err)
	}
	_ = os.Remove(filepath.Join(s.data, files.URLFile))
	r := &running{t: s.t, site: s, ended: make(chan struct{}), log: &faultLog{}}
	r.cmd = exec.Command(file, "run", "--config", s.config, "--data", s.data)
	r.cmd.Stderr = r.log
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		_ = r.cmd.Wait()
		r.state = r.cmd.ProcessState
		close(r.ended)
	}()
	s.t.Cleanup(func() {
		r.kill()
		if s.t.Failed() {
			s.t.Logf("the end of the daemon's log:\n%s", r.log.tail())
		}
	})
	return r
}

// dial connects to the daemon's bus as soon as it listens.
func (r *running) dial() {
	r.t.Helper()
	r.until("the bus listens", func() bool {
		url, err := os.ReadFile(filepath.Join(r.site.data, files.URLFile))
		if err != nil || len(url) == 0 {
			return false
		}
		r.conn, err = bus.Dial(bus.Options{
			URL: strings.TrimSpace(string(url)), NKeyFile: filepath.Join(r.site.data, "keys", "operator.nk"), Name: "fault test",
		})
		return err == nil
	})
	r.t.Cleanup(r.conn.Close)
}

// until polls a condition that nothing announces. It fails the test if the daemon ends.
func (r *running) until(what string, cond func() bool) {
	r.t.Helper()
	begin := time.Now()
	for !cond() {
		select {
		case <-r.ended:
			r.t.Fatalf("the daemon has ended (%v) before: %s", r.state, what)
		case <-time.After(2 * time.Millisecond):
		}
		if time.Since(begin) > faultWait {
			r.t.Fatalf("never within %s: %s", faultWait, what)
		}
	}
}

// span lets the daemon run for a while.
func (r *running) span(d time.Duration) {
	r.t.Helper()
	select {
	case <-r.ended:
		r.t.Fatalf("the daemon has died: %v", r.state)
	case <-time.After(d):
	}
}

// alive fails the test if the process is gone.
func (r *running) alive() {
	r.t.Helper()
	select {
	case <-r.ended:
		r.t.Fatalf("the daemon has died: %v", r.state)
	default:
	}
}

func (r *running) signal(s os.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		r.t.Fatal(err)
	}
}

// stop stops the daemon in order, within limit and with exit code 0.
func (r *running) stop(limit time.Duration) time.Duration {
	r.t.Helper()
	r.alive()
	begin := time.Now()
	r.signal(syscall.SIGTERM)
	select {
	case <-r.ended:
	case <-time.After(limit):
		r.t.Fatalf("has not stopped within %s", limit)
	}
	if r.state.ExitCode() != 0 {
		r.t.Errorf("ended with %v after SIGTERM", r.state)
	}
	return time.Since(begin)
}

// kill kills the process, as a power cut would.
func (r *running) kill() {
	_ = r.cmd.Process.Kill()
	<-r.ended
}

func faultContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), faultWait)
}

// call calls a method as an operator would.
func (r *running) call(path, method string, req, resp proto.Message) error {
	ctx, cancel := faultContext()
	defer cancel()
	return r.conn.Call(ctx, bus.Subject("fault", bus.Cmd, path, method), req, resp)
}

// must is call, and fails the test if the call is refused.
func (r *running) must(path, method string, req, resp proto.Message) {
	r.t.Helper()
	if err := r.call(path, method, req, resp); err != nil {
		r.t.Fatalf("%s %s: %v", path, method, err)
	}
}

// faultLog keeps the output of the daemon.
type faultLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *faultLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *faultLog) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), s)
}

func (l *faultLog) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.text.String()
	return text[max(0, len(text)-6000):]
}
