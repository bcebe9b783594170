package main

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"gatewayd/protocols/modbus"
)

//go:embed peers/server.c
var fastServer []byte

//go:embed peers/client.c
var libmodbusClient []byte

const (
	tcpRounds    = 5
	tcpSpan      = 600 * time.Millisecond
	tcpRegisters = 10
	tcpInFlight  = 16
	tcpOne       = 0.95 // of libmodbus's rate with one transaction under way
	tcpMany      = 5.0  // with tcpInFlight
)

// tcpClient is how many transactions one connection to a fast server carries.
// Everything runs on one CPU: waking another one costs more than a transaction.
func tcpClient(ctx context.Context, b *bench) error {
	server, err := compiled(b.dir, "server", fastServer)
	if err != nil {
		return err
	}
	client, err := compiled(b.dir, "client", libmodbusClient, "-I/usr/include/modbus", "-lmodbus")
	if err != nil {
		return err
	}
	if err := pin(); err != nil {
		return err
	}
	port, stop, err := serving(ctx, server)
	if err != nil {
		return err
	}
	defer stop()
	var theirs, one, many []float64
	for range tcpRounds {
		out, err := exec.CommandContext(ctx, client, port, strconv.Itoa(tcpRegisters), strconv.FormatInt(tcpSpan.Milliseconds(), 10)).Output()
		if err != nil {
			return fmt.Errorf("libmodbus: %w", err)
		}
		rate, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
		if err != nil {
			return err
		}
		theirs = append(theirs, rate)
		for rates, n := range map[*[]float64]int{&one: 1, &many: tcpInFlight} {
			rate, err := tcpRate(ctx, port, n)
			if err != nil {
				return err
			}
			*rates = append(*rates, rate)
		}
	}
	peer := median(theirs)
	for _, x := range []struct {
		what  string
		rate  float64
		limit float64
	}{{"one transaction in flight", median(one), tcpOne}, {fmt.Sprintf("%d in flight", tcpInFlight), median(many), tcpMany}} {
		b.say(row{
			Figure: "Modbus TCP client, " + x.what,
			Value:  fmt.Sprintf("%.0f k/s", x.rate/1000), Peer: fmt.Sprintf("libmodbus %.0f k/s", peer/1000),
			Ratio: x.rate / peer, Limit: fmt.Sprintf("≥ %.2f of it", x.limit),
		}.above(x.rate/peer, x.limit))
	}
	return nil
}

// compiled is a C program.
func compiled(dir, name string, source []byte, args ...string) (string, error) {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".c", source, 0o644); err != nil {
		return "", err
	}
	text, err := exec.Command("gcc", append([]string{"-O2", "-o", path, path + ".c"}, args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("apt-get install -y gcc libc6-dev libmodbus-dev: %w\n%s", err, text)
	}
	return path, nil
}

// pin keeps this process and what it starts on one CPU.
func pin() error {
	runtime.GOMAXPROCS(1)
	var now, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &now); err != nil {
		return err
	}
	for cpu := range 1024 {
		if now.IsSet(cpu) {
			one.Set(cpu)
			break
		}
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range tasks {
		id, _ := strconv.Atoi(t.Name())
		if err := unix.SchedSetaffinity(id, &one); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// serving starts the server and gives its port.
func serving(ctx context.Context, server string) (port string, stop func(), err error) {
	cmd := exec.CommandContext(ctx, server)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return "", nil, err
	}
	stop = func() { _, _ = cmd.Process.Kill(), cmd.Wait() }
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return "", nil, fmt.Errorf("the server says no port: %w", err)
	}
	return strings.TrimSpace(line), stop, nil
}

// tcpRate is transactions per second, of a Link for one at a time, of a Pipe for more.
func tcpRate(ctx context.Context, port string, inFlight int) (float64, error) {
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	var by interface {
		Do(ctx context.Context, r modbus.Request) (modbus.Response, error)
	} = modbus.NewLink(conn, modbus.TCP, modbus.Options{})
	if inFlight > 1 {
		by = modbus.NewPipe(conn, modbus.Options{})
	}
	counts, failed := make([]int, inFlight), make([]error, inFlight)
	begin := time.Now()
	var all sync.WaitGroup
	for i := range inFlight {
		all.Go(func() { counts[i], failed[i] = backToBack(ctx, by, begin.Add(tcpSpan)) })
	}
	all.Wait()
	took, done := time.Since(begin), 0
	for _, n := range counts {
		done += n
	}
	return float64(done) / took.Seconds(), errors.Join(failed...)
}

func backToBack(ctx context.Context, by interface {
	Do(ctx context.Context, r modbus.Request) (modbus.Response, error)
}, end time.Time) (done int, err error) {
	r := modbus.Request{Unit: 1, Function: modbus.ReadHoldingRegisters, Quantity: tcpRegisters}
	for ; done%64 != 0 || time.Now().Before(end); done++ {
		got, err := by.Do(ctx, r)
		if err != nil {
			return done, err
		}
		if len(got.Data) != 2*tcpRegisters {
			return done, fmt.Errorf("%d bytes", len(got.Data))
		}
	}
	return done, nil
}
