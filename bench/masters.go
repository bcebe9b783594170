package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"gatewayd/protocols/modbus"
)

const (
	crowd       = 50 // masters
	crowdRegs   = 10
	crowdSpan   = 2 * time.Second
	crowdRounds = 5
)

// bareFlag runs this process as the bare server on a port.
const bareFlag = "--bare-server"

// selectServer is libmodbus's server for many masters, as in its tests/bandwidth-server-many-up.c.
const selectServer = `
#include <modbus.h>
#include <stdlib.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int argc, char **argv) {
  modbus_t *c = modbus_new_tcp("127.0.0.1", atoi(argv[1]));
  modbus_mapping_t *m = modbus_mapping_new(100, 100, 100, 100);
  int s = modbus_tcp_listen(c, 128), top = s, one = 1;
  uint8_t q[MODBUS_TCP_MAX_ADU_LENGTH];
  fd_set all, set;
  FD_ZERO(&all);
  FD_SET(s, &all);
  for (;;) {
    set = all;
    if (select(top + 1, &set, 0, 0, 0) < 0) return 1;
    for (int fd = 0; fd <= top; fd++) {
      if (!FD_ISSET(fd, &set)) continue;
      if (fd == s) {
        int n = accept(s, 0, 0);
        if (n < 0) continue;
        setsockopt(n, 6, 1, &one, sizeof one);
        FD_SET(n, &all);
        if (n > top) top = n;
        continue;
      }
      modbus_set_socket(c, fd);
      int n = modbus_receive(c, q);
      if (n > 0) modbus_reply(c, q, n, m);
      if (n == -1) close(fd), FD_CLR(fd, &all);
    }
  }
}
`

// serverRate is the figure "server": how fast 50 masters are answered by the daemon's
// modbus-server, by libmodbus's server, and by a minimal Go program.
func serverRate(ctx context.Context, b *bench) error {
	ours, theirs := filepath.Join(b.dir, "gatewayd"), filepath.Join(b.dir, "libmodbus")
	if err := build(ctx, ours, "gatewayd/cmd/gatewayd"); err != nil {
		return err
	}
	source := theirs + ".c"
	if err := os.WriteFile(source, []byte(selectServer), 0o644); err != nil {
		return err
	}
	if text, err := exec.CommandContext(ctx, "gcc", "-O2", "-o", theirs, source, "-I/usr/include/modbus", "-lmodbus").CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get install -y gcc libc6-dev libmodbus-dev: %w: %s", err, text)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ports, err := freePorts(4)
	if err != nil {
		return err
	}
	file := filepath.Join(b.dir, "server.toml")
	if err := os.WriteFile(file, []byte(serverConfig(ports[0], ports[1])), 0o644); err != nil {
		return err
	}
	rates := make([][]float64, 3)
	commands := [][]string{
		{ours, "run", "--config", file, "--data", filepath.Join(b.dir, "data")}, {theirs, strconv.Itoa(ports[2])}, {self, bareFlag, strconv.Itoa(ports[3])},
	}
	for i, argv := range commands {
		p, err := launch(filepath.Join(b.dir, fmt.Sprintf("server-%d.log", i)), argv[0], argv[1:]...)
		if err != nil {
			return err
		}
		defer p.end()
		if err := reachable(ports[i+1], 10*time.Second); err != nil {
			return err
		}
	}
	for range crowdRounds {
		for i := range rates {
			n, err := crowdRate(ports[i+1], crowdSpan)
			if err != nil {
				return err
			}
			rates[i] = append(rates[i], n)
		}
	}
	mine, libmodbus, bare := median(rates[0]), median(rates[1]), median(rates[2])
	value := fmt.Sprintf("%.0f /s", mine)
	b.say(row{
		Figure: "server, 50 masters, 10 registers", Value: value, Peer: fmt.Sprintf("libmodbus %.0f /s", libmodbus), Ratio: mine / libmodbus, Limit: "≥ 1.4",
	}.above(mine/libmodbus, 1.4))
	b.say(row{
		Figure: "server, 50 masters, 10 registers", Value: value, Peer: fmt.Sprintf("bare Go socket loop %.0f /s", bare), Ratio: mine / bare, Limit: "≥ 0.85",
	}.above(mine/bare, 0.85))
	return nil
}

func serverConfig(busPort, port int) string {
	return fmt.Sprintf(`gateway = "bench"
[bus]
kind = "bus"
listen = "127.0.0.1:%d"
anonymous = "observer"
[scada]
kind = "modbus-server"
max-masters = 100
max-masters-per-address = 100
fill = [{ address = 0, count = 100 }]
[[scada.tcp]]
listen = "127.0.0.1:%d"
`, busPort, port)
}

// bareServer answers every read with zeros and checks nothing: the lower bound of the cost.
func bareServer(port string) error {
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			in, out := make([]byte, 260), make([]byte, 9+2*125)
			for {
				if _, err := io.ReadFull(c, in[:12]); err != nil {
					return
				}
				n := 2 * int(binary.BigEndian.Uint16(in[10:]))
				copy(out, in[:8])
				binary.BigEndian.PutUint16(out[4:], uint16(3+n))
				out[8] = byte(n)
				if _, err := c.Write(out[:9+n]); err != nil {
					return
				}
			}
		}()
	}
}

// crowdRate returns the transactions per second of masters that each send one request after the
// other on a connection of their own.
func crowdRate(port int, span time.Duration) (float64, error) {
	var all sync.WaitGroup
	var done atomic.Int64
	var failed atomic.Pointer[error]
	end := time.Now().Add(span)
	begin := time.Now()
	for i := range crowd {
		c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			return 0, err
		}
		_ = c.SetDeadline(end.Add(10 * time.Second))
		ask := modbus.Request{Unit: 1, Function: modbus.ReadHoldingRegisters, Address: uint16(i), Quantity: crowdRegs}
		frame := modbus.AppendFrame(nil, modbus.TCP, uint16(i), 1, modbus.AppendRequest(nil, ask))
		all.Go(func() {
			defer c.Close()
			n, err := askOn(c, frame, end)
			done.Add(n)
			if err != nil {
				failed.Store(&err)
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return float64(done.Load()) / time.Since(begin).Seconds(), nil
}

func askOn(c net.Conn, frame []byte, end time.Time) (n int64, err error) {
	answer := make([]byte, 9+2*crowdRegs)
	for ; n%16 != 0 || time.Now().Before(end); n++ {
		if _, err := c.Write(frame); err != nil {
			return n, err
		}
		if _, err := io.ReadFull(c, answer); err != nil {
			return n, err
		}
		if answer[7] != modbus.ReadHoldingRegisters || answer[0] != frame[0] || answer[1] != frame[1] {
			return n, fmt.Errorf("answered %x", answer)
		}
	}
	return n, nil
}
