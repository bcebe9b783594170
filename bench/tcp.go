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
	"gatewayd/protocols/modbus/dispatch"
)

//go:embed peers/server.c
var fastServer []byte

//go:embed peers/client.c
var libmodbusClient []byte

const (
	tcpRounds    = 11
	tcpSpan      = 300 * time.Millisecond
	tcpRegisters = 10
	tcpInFlight  = 16
	tcpOne       = 0.95 // of libmodbus's rate with one transaction in flight
	tcpMany      = 5.0  // with tcpInFlight
)

// tcpClient is the figure "tcp": transactions per second on one connection to a fast server.
// Everything runs on one CPU, since waking another one costs more than a transaction.
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
	var peer []float64
	ours := []*pace{{what: "one transaction in flight", inFlight: 1, limit: tcpOne}, {what: fmt.Sprintf("%d in flight", tcpInFlight), inFlight: tcpInFlight, limit: tcpMany}}
	for range tcpRounds {
		rate, err := libmodbusRate(ctx, client, port)
		if err != nil {
			return err
		}
		peer = append(peer, rate)
		for _, p := range ours {
			own, err := tcpRate(ctx, port, p.inFlight)
			if err != nil {
				return err
			}
			p.rates, p.ratios = append(p.rates, own), append(p.ratios, own/rate)
		}
	}
	for _, p := range ours {
		ratio := median(p.ratios) // of the ratios within a round: other load on this machine changes from round to round
		b.say(row{
			Figure: "Modbus TCP client, " + p.what,
			Value:  fmt.Sprintf("%.0f k/s", median(p.rates)/1000), Peer: fmt.Sprintf("libmodbus %.0f k/s", median(peer)/1000),
			Ratio: ratio, Limit: fmt.Sprintf("≥ %.2f of it", p.limit),
		}.above(ratio, p.limit))
	}
	return nil
}

// pace is the result for a number of transactions in flight.
type pace struct {
	what          string
	inFlight      int
	limit         float64
	rates, ratios []float64
}

func libmodbusRate(ctx context.Context, client, port string) (float64, error) {
	out, err := exec.CommandContext(ctx, client, port, strconv.Itoa(tcpRegisters), strconv.FormatInt(tcpSpan.Milliseconds(), 10)).Output()
	if err != nil {
		return 0, fmt.Errorf("libmodbus: %w", err)
	}
	return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
}

// compiled compiles a C program and returns its path.
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

// pin binds this process and those it starts to one CPU.
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

// serving starts the server and returns its port.
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

// tcpRate returns transactions per second: of a Link for one in flight, of a Pipe for more.
func tcpRate(ctx context.Context, port string, inFlight int) (float64, error) {
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var by dispatch.Transactor
	if inFlight > 1 {
		by = modbus.NewPipe(conn, modbus.Options{})
	} else {
		l := modbus.NewLink(conn, modbus.TCP, modbus.Options{})
		defer l.Within(ctx)()
		by = l
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

func backToBack(ctx context.Context, by dispatch.Transactor, end time.Time) (done int, err error) {
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
