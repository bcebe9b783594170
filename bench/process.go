package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cpuSelf returns the CPU time of this process.
func cpuSelf() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// usage is what the kernel reports about a process.
type usage struct {
	cpu    time.Duration // with a resolution of 10 ms
	rss    int64         // resident bytes
	anon   int64         // resident bytes that are not backed by a file
	faults int64         // major page faults
}

// usageOf reads /proc/<pid>. pid may be "self".
func usageOf(pid string) (u usage, err error) {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return u, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the name may contain spaces
	f := strings.Fields(rest)
	if len(f) < 13 {
		return u, fmt.Errorf("/proc/%s/stat: %d fields", pid, len(f))
	}
	num := func(s string) int64 { n, _ := strconv.ParseInt(s, 10, 64); return n }
	const tick = 10 * time.Millisecond // USER_HZ is 100 on the supported machines
	u.faults = num(f[9])
	u.cpu = time.Duration(num(f[11])+num(f[12])) * tick
	status, err := os.Open("/proc/" + pid + "/status")
	if err != nil {
		return u, err
	}
	defer status.Close()
	for s := bufio.NewScanner(status); s.Scan(); {
		key, val, _ := strings.Cut(s.Text(), ":")
		kb := num(strings.TrimSuffix(strings.TrimSpace(val), " kB")) << 10
		switch key {
		case "VmRSS":
			u.rss = kb
		case "RssAnon":
			u.anon = kb
		}
	}
	return u, nil
}

// live returns the memory the Go runtime holds after garbage collection: heap and stacks.
func live() int64 {
	var m runtime.MemStats
	for range 3 { // finalizers and pools need more than one collection
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

func mb(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

func until(what string, limit time.Duration, cond func() bool) error {
	for deadline := time.Now().Add(limit); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("never: %s", what)
		}
	}
	return nil
}
