// Package lab runs programs on a real kernel with emulated hardware: it boots lab.sh's QEMU
// machine, follows the output of the guest, and plugs and unplugs devices. It needs no root and no
// KVM. It is for tests, not for the daemon.
package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Exit codes of a machine that did not end with its command's exit code.
const (
	CodeLimit = 124 // the time limit ended it
	CodeDied  = 125 // it ended without a code, e.g. reset by a watchdog
)

// Options describe a machine.
type Options struct {
	Files   []string      // files and folders copied to /lab, the guest's working directory
	Modules []string      // kernel modules loaded before the command
	QEMU    []string      // additional QEMU arguments, each without spaces
	Reboot  bool          // after a reset boot again, with LAB_BOOT incremented, instead of ending the machine
	Limit   time.Duration // maximum running time of the machine; 0 is two minutes
}

// Machine is a running guest. Its methods must be called from one goroutine.
type Machine struct {
	folder string
	cmd    *exec.Cmd
	ended  chan struct{}
	log    *follower
	qmp    *qmp
}

// Start boots a machine that runs a shell command in /lab. Close must be called.
func Start(ctx context.Context, o Options, command string) (*Machine, error) {
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		return nil, errors.New("qemu-system-x86_64 is missing: run lab/setup.sh (apt-get install -y --no-install-recommends qemu-system-x86 squashfs-tools cpio kmod xz-utils)")
	}
	home, err := home()
	if err != nil {
		return nil, err
	}
	image, err := exec.CommandContext(ctx, filepath.Join(home, "build.sh")).Output()
	if err != nil {
		return nil, fmt.Errorf("build the lab image: %w: %s", err, stderr(err))
	}
	// Not the test's own folder: the path of a unix socket is limited to 107 bytes.
	folder, err := os.MkdirTemp("", "lab")
	if err != nil {
		return nil, err
	}
	m := &Machine{folder: folder, ended: make(chan struct{})}
	if err := m.boot(ctx, home, strings.TrimSpace(string(image)), o, command); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (m *Machine) boot(ctx context.Context, home, image string, o Options, command string) error {
	out := filepath.Join(m.folder, "share", "out")
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	var err error
	if m.log, err = follow(out, "log"); err != nil {
		return err
	}
	monitor, err := net.Listen("unix", filepath.Join(m.folder, "qmp"))
	if err != nil {
		return err
	}
	defer monitor.Close()
	m.cmd = exec.Command(filepath.Join(home, "lab.sh"), m.args(image, o, command)...)
	if err := m.cmd.Start(); err != nil {
		return err
	}
	go func() {
		m.cmd.Wait() // its error is the exit code, read from ProcessState
		close(m.ended)
		monitor.Close()
		m.log.stop()
	}()
	stop := context.AfterFunc(ctx, func() { monitor.Close() })
	defer stop()
	conn, err := monitor.Accept()
	if err != nil {
		return fmt.Errorf("qemu did not start: %w\n%s", err, m.file("qemu"))
	}
	m.qmp, err = newQMP(ctx, conn)
	return err
}

func (m *Machine) args(image string, o Options, command string) []string {
	limit := o.Limit
	if limit == 0 {
		limit = 2 * time.Minute
	}
	args := []string{
		"-i", image, "-o", filepath.Join(m.folder, "share"), "-t", strconv.FormatFloat(limit.Seconds(), 'f', 3, 64),
		"-q", "-chardev socket,id=qmp,path=" + filepath.Join(m.folder, "qmp") + " -mon chardev=qmp,mode=control",
	}
	if len(o.Modules) > 0 {
		args = append(args, "-M", strings.Join(o.Modules, ","))
	}
	for _, f := range o.Files {
		args = append(args, "-b", f)
	}
	for _, q := range o.QEMU {
		args = append(args, "-q", q)
	}
	if o.Reboot {
		args = append(args, "-r")
	}
	return append(args, "--", command)
}

// Await waits until the command has printed text, after the text that an earlier Await found.
func (m *Machine) Await(ctx context.Context, text string) error {
	if err := m.log.await(ctx, text); err != nil {
		return fmt.Errorf("the guest did not say %q: %w\n%s", text, err, m.Log())
	}
	return nil
}

// Wait waits until the machine has ended and returns the command's exit code, CodeLimit or
// CodeDied.
func (m *Machine) Wait(ctx context.Context) (int, error) {
	select {
	case <-m.ended:
		return m.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("the machine did not end: %w\n%s", ctx.Err(), m.Log())
	}
}

// Log returns the output of the command, in all boots.
func (m *Machine) Log() string { return m.file("log") }

// Console returns the output of the serial console, in all boots: kernel messages of level warning
// and above.
func (m *Machine) Console() string { return strings.ReplaceAll(m.file("console"), "\r", "") }

// File returns the contents of the guest's file /lab/out/NAME; "" if there is none.
func (m *Machine) File(name string) string { return m.file(name) }

func (m *Machine) file(name string) string {
	b, err := os.ReadFile(filepath.Join(m.folder, "share", "out", name))
	if err != nil {
		return ""
	}
	return string(b)
}

// Close ends the machine if it is still running, and deletes its folder.
func (m *Machine) Close() error {
	if m.cmd != nil && m.cmd.Process != nil {
		select {
		case <-m.ended:
		default:
			m.cmd.Process.Signal(syscall.SIGTERM) // lab.sh takes QEMU with it
			<-m.ended
		}
	}
	if m.qmp != nil {
		m.qmp.conn.Close()
	}
	if m.log != nil {
		m.log.watch.Close()
	}
	return os.RemoveAll(m.folder)
}
