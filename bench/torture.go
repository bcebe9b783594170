package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gatewayd/protocols/access"
	"gatewayd/protocols/pki"
)

const (
	tortureSlow   = 50 * time.Millisecond
	tortureBudget = 400 << 20 // of the process, with all the clients it admits
	tortureStarve = 10 * time.Second
	probeEvery    = 5 * time.Millisecond
)

// trial is one attack on the broker.
type trial struct {
	name    string
	what    string
	reasons []string // that must be in the audit log afterwards
	starve  bool     // the daemon has no free file descriptor meanwhile
}

var trials = []trial{
	{name: "idle", what: "10,000 idle TCP connections", reasons: []string{"stranger"}},
	{name: "tls", what: "5,000 TLS clients"},
	{name: "lengths", what: "packets that claim 256 MB", reasons: []string{"stranger", "packet"}},
	{name: "broken", what: "truncated and random packets", reasons: []string{"packet"}},
	{name: "readers", what: "subscribers that do not read", reasons: []string{"reader"}},
	{name: "descriptors", what: "no file descriptors for 10 s", reasons: []string{"descriptors"}, starve: true},
	{name: "theft", what: "client ids of others, and passwords", reasons: []string{"client-id", "credentials"}},
	{name: "wills", what: "wills on forbidden topics", reasons: []string{"will"}},
	{name: "sys", what: "publishing on $SYS, state and event", reasons: []string{"topic"}},
	{name: "alias", what: "invalid topic aliases", reasons: []string{"packet"}},
}

// torture is the figure "torture": it runs all attacks on the daemon's broker, from processes of
// their own, and measures meanwhile how another client fares.
func torture(ctx context.Context, b *bench) error {
	t, err := newRack(ctx, b)
	if err != nil {
		return err
	}
	defer t.daemon.end()
	defer t.aside.end()
	var worst int64
	for _, trial := range trials {
		r, err := t.run(ctx, trial)
		if err != nil {
			return fmt.Errorf("%s: %w", trial.what, err)
		}
		worst = max(worst, r.rss)
		row := row{
			Figure: trial.what, Value: fmt.Sprintf("others' p99 %.1f ms", ms(r.p99)), Peer: fmt.Sprintf("beside an idle broker's %.1f ms", ms(r.quiet)),
			Limit: "< 50 ms", Note: fmt.Sprintf("%s; at most %s resident", r.said, mb(r.rss)),
		}
		b.say(row.below(r.p99.Seconds(), tortureSlow.Seconds()))
	}
	b.say(row{Figure: "most memory of all", Value: mb(worst), Limit: "≤ " + mb(tortureBudget)}.below(float64(worst), tortureBudget))
	lacks, err := t.audited()
	if err != nil {
		return err
	}
	note := ""
	if len(lacks) > 0 {
		note = "not there: " + strings.Join(lacks, ", ")
	}
	b.say(row{Figure: "told in the audit, by reason", Value: fmt.Sprintf("%d missing", len(lacks)), Limit: "none", Note: note}.below(float64(len(lacks)), 0))
	return nil
}

// rack is the daemon under torture.
type rack struct {
	b             *bench
	daemon        *process
	plain, secure int // ports
	data          string
	probe         *mqttPeer
	aside         *process  // a broker without load
	quiet         *mqttPeer // a client of it: its times show how long everybody waits on this machine
}

func newRack(ctx context.Context, b *bench) (*rack, error) {
	bin := filepath.Join(b.dir, "gatewayd")
	if err := build(ctx, bin, "gatewayd/cmd/gatewayd"); err != nil {
		return nil, err
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	t := &rack{b: b, plain: ports[1], secure: ports[2], data: filepath.Join(b.dir, "data")}
	pem, err := t.certificate()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(b.dir, "torture.toml")
	config := fmt.Sprintf(tortureConfig, ports[0], access.Hash([]byte(torturePassword)), t.secure, pem, pem, t.plain)
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, err
	}
	t.daemon, err = startUntil(ports, filepath.Join(b.dir, "log"), []string{bin, "run", "--config", file, "--data", t.data, "--log", "error"})
	if err != nil {
		return nil, err
	}
	err = until("the broker lets anna in", 10*time.Second, func() bool {
		t.probe, err = dialMQTT(t.plain, mqttLogin{id: "anna", name: "anna", password: torturePassword})
		return err == nil
	})
	if err == nil {
		err = t.probe.subscribe("room/anna", 0)
	}
	if err == nil {
		err = t.beside(ctx)
	}
	if err != nil {
		t.daemon.end()
		return nil, err
	}
	settle()
	return t, nil
}

// beside starts the broker without load.
func (t *rack) beside(ctx context.Context) (err error) {
	if t.aside, err = startBroker(ctx, t.b, "mochi"); err != nil {
		return err
	}
	if t.quiet, err = dialMQTT(t.aside.mqtt, mqttLogin{id: "anna"}); err == nil {
		err = t.quiet.subscribe("room/anna", 0)
	}
	if err != nil {
		t.aside.end()
	}
	return err
}

// certificate makes a certificate for the encrypted door, with its key in the same file.
func (t *rack) certificate() (file string, err error) {
	a, err := pki.Create(filepath.Join(t.b.dir, "ca"), "torture", time.Now())
	if err != nil {
		return "", err
	}
	_, err = a.Issue(pki.CertificateRequest{Name: "broker", Hosts: []string{"127.0.0.1"}, Validity: time.Hour}, time.Now())
	return a.File("broker.pem"), err
}

// result is how other clients fared during a trial.
type result struct {
	p99, quiet time.Duration
	rss        int64
	said       string
}

func (t *rack) run(ctx context.Context, trial trial) (r result, err error) {
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	if trial.starve {
		if err := t.starve(); err != nil {
			return r, err
		}
	}
	var out bytes.Buffer
	attack := exec.CommandContext(ctx, "nice", "-n", "10", self, attackFlag, trial.name, strconv.Itoa(t.plain), strconv.Itoa(t.secure))
	attack.Stdout, attack.Stderr = &out, &out
	attack.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := attack.Start(); err != nil {
		return r, err
	}
	var over atomic.Bool
	done := make(chan error, 1)
	go func() {
		done <- attack.Wait()
		over.Store(true)
	}()
	var took, quiet []time.Duration
	for !over.Load() {
		began := time.Now()
		if err := t.probe.call("room/anna", "x"); err != nil {
			return r, fmt.Errorf("another client: %w", err)
		}
		took = append(took, time.Since(began))
		began = time.Now()
		if err := t.quiet.call("room/anna", "x"); err != nil {
			return r, fmt.Errorf("a client of the idle broker: %w", err)
		}
		quiet = append(quiet, time.Since(began))
		if len(took)%20 == 0 {
			u, err := t.daemon.usage()
			if err != nil {
				return r, err
			}
			r.rss = max(r.rss, u.rss)
		}
		time.Sleep(probeEvery)
	}
	if err := <-done; err != nil {
		return r, fmt.Errorf("%w: %s", err, strings.TrimSpace(out.String()))
	}
	r.p99, r.quiet, r.said = quantile(took, 0.99), quantile(quiet, 0.99), strings.TrimSpace(out.String())
	return r, nil
}

// starve leaves the daemon without a free file descriptor for a while.
func (t *rack) starve() error {
	pid := t.daemon.Process.Pid
	open, lowest := 0, 0
	err := until("the clients before are all gone", 20*time.Second, func() bool {
		was := open
		open, lowest = descriptorsOf(pid)
		time.Sleep(time.Second)
		return open == was
	})
	if err != nil {
		return err
	}
	var was unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(lowest), Max: 20_000}, &was); err != nil {
		return err
	}
	time.AfterFunc(tortureStarve, func() { _ = unix.Prlimit(pid, unix.RLIMIT_NOFILE, &was, nil) })
	return nil
}

// descriptorsOf returns how many file descriptors a process has, and the lowest free number, which
// is the next to be used.
func descriptorsOf(pid int) (open, lowest int) {
	all, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	used := map[string]bool{}
	for _, e := range all {
		used[e.Name()] = true
	}
	for used[strconv.Itoa(lowest)] {
		lowest++
	}
	return len(all), lowest
}

// audited returns the reasons that are missing in the audit log.
func (t *rack) audited() (lacks []string, err error) {
	time.Sleep(7 * time.Second) // refusals are written every five seconds
	files, err := filepath.Glob(filepath.Join(t.data, "actors", "audit", "audit-*.log"))
	if err != nil || len(files) == 0 {
		return nil, errors.Join(errors.New("there is no audit log"), err)
	}
	var all []byte
	for _, f := range files {
		p, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		all = append(all, p...)
	}
	for _, trial := range trials {
		for _, reason := range trial.reasons {
			if !bytes.Contains(all, []byte(`"reason":"`+reason+`"`)) {
				lacks = append(lacks, reason)
			}
		}
	}
	return lacks, nil
}

const torturePassword = "correct horse battery"

const tortureConfig = `gateway = "bench"
[bus]
kind = "bus"
listen = "127.0.0.1:%d"
[audit]
kind = "audit-log"
[access]
kind = "access-control"
anonymous = ["resident"]
[[access.roles]]
name = "resident"
allow = ["room/#", "data/#", "$SYS/#"]
[[access.identities]]
name = "anna"
roles = ["resident"]
password = %q
[mqtt]
kind = "mqtt-broker"
listen = "127.0.0.1:%d"
access = "access"
max-clients = 17000
max-clients-per-address = 17000
[mqtt.tls]
cert-file = %q
key-file = %q
[[mqtt.doors]]
listen = "127.0.0.1:%d"
plain = true
`
