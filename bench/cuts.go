package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	apart      = "GATEWAYD_BENCH_APART" // set in the process that has a network namespace of its own
	cutFleet   = 6
	cutAddress = "127.9.9.9"
	cutOver    = 8 * time.Minute // until the hub notices that each dead connection is over: it pings every two minutes, and gives up after two pings without an answer
)

// cuts is the figure of links that silently drop everything for a while: no packet between the hub
// and its gateways arrives, so each side keeps its connections until it has waited in vain for an
// answer. It runs in a network namespace of its own.
func cuts(ctx context.Context, b *bench) error {
	if os.Getenv(apart) == "" {
		return inNetwork(ctx, b)
	}
	for _, args := range []string{"link set lo up", "rule add pref 10 lookup local", "rule del pref 0"} { // our own rules come first
		if err := ip(strings.Fields(args)...); err != nil {
			return err
		}
	}
	f, err := newFleet(ctx, b.dir, cutFleet, cutAddress)
	defer f.end()
	if err != nil {
		return err
	}
	f.shard = fleetShard
	lengths := []time.Duration{3 * time.Second, 30 * time.Second, 3 * time.Minute}
	if long := cutLonger(); long > 0 {
		lengths = append(lengths, long)
	}
	for _, step := range []func(*bench) error{f.joined, f.source} {
		if err := step(b); err != nil {
			return err
		}
	}
	for _, d := range lengths {
		if err := f.cut(b, d); err != nil {
			return err
		}
	}
	return f.account(b)
}

// cutLonger returns the length of an additional cut, from the environment; 0: none.
func cutLonger() time.Duration {
	d, _ := time.ParseDuration(os.Getenv("GATEWAYD_BENCH_CUT"))
	return d
}

// inNetwork continues in a child process that has a network namespace of its own.
func inNetwork(ctx context.Context, b *bench) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, childFlag, "cuts", b.dir)
	cmd.Env = append(os.Environ(), apart+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("a network of its own, which needs root: %w", err)
	}
	return nil
}

// openTo makes a server of the hub listen at another address as well, and not advertise its own.
func openTo(file, address string) error {
	text, err := os.ReadFile(file)
	if err != nil || address == "127.0.0.1" {
		return err
	}
	change := strings.NewReplacer("listen: \"127.0.0.1", "listen: \"0.0.0.0", "leafnodes {", "leafnodes {\n  no_advertise: true", "cluster {", "cluster { no_advertise: true,")
	return os.WriteFile(file, []byte(change.Replace(string(text))), 0o600)
}

// carry sets whether packets to and from cutAddress arrive.
func carry(all bool) error {
	how := "add"
	if all {
		how = "del"
	}
	for _, way := range []string{"to", "from"} {
		if err := ip("rule", how, "pref", "1", way, cutAddress, "blackhole"); err != nil {
			return err
		}
	}
	return nil
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// cut drops all packets for a while.
func (f *party) cut(b *bench, length time.Duration) error {
	if err := carry(false); err != nil {
		return err
	}
	select {
	case <-time.After(length):
	case <-f.ctx.Done():
	}
	if err := carry(true); err != nil {
		return err
	}
	began := time.Now()
	f.most = 0
	if err := f.catch(b, fmt.Sprintf("no packet arrives for %s", length), began); err != nil {
		return err
	}
	if err := until("each gateway is counted once", cutOver, func() bool { return f.leafs() == len(f.ids) }); err != nil {
		return fmt.Errorf("%w: %d", err, f.leafs())
	}
	b.say(row{Figure: "connections that the hub counted then", Value: fmt.Sprintf("%d at most; %d after %s", f.most, len(f.ids), time.Since(began).Round(100*time.Millisecond))})
	return nil
}
