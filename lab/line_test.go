//go:build lab

package lab_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"gatewayd/lab"
)

const (
	adapter = "adapter"
	// The adapter's place in the machine: port 1 of the controller at 10.0. The name under which an operator would configure it.
	byPath = "/dev/serial/by-path/pci-0000:00:10.0-usb-0:1:1.0-port0"
)

// line is the far end of the USB serial adapter: an RS-485 line with one Modbus RTU unit, on the host.
type line struct {
	socket  string
	answers atomic.Int64
}

func newLine(t *testing.T) *line {
	t.Helper()
	folder, err := os.MkdirTemp("", "line") // short: a unix socket's path has 107 bytes at most
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(folder) })
	l := &line{socket: filepath.Join(folder, "s")}
	listener, err := net.Listen("unix", l.socket)
	must(t, err)
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			l.serve(conn)
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-served
	})
	return l
}

// qemu is the controller, the line and the plugged adapter.
func (l *line) qemu() []string {
	return []string{
		"-device qemu-xhci,id=usb,addr=10.0",
		"-chardev socket,id=line,path=" + l.socket,
		"-device usb-serial,id=" + adapter + ",chardev=line,bus=usb.0,port=1",
	}
}

func (l *line) plug(ctx context.Context, m *lab.Machine) error {
	return m.Plug(ctx, "usb-serial", adapter, map[string]any{"chardev": "line", "bus": "usb.0", "port": "1"})
}

// serve answers every "read holding registers" of unit 1 with 0x2a2a. What an unplug left unfinished ends with a pause.
func (l *line) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	var frame []byte
	for {
		if len(frame) > 0 {
			conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		} else {
			conn.SetReadDeadline(time.Time{})
		}
		b, err := in.ReadByte()
		if os.IsTimeout(err) {
			frame = nil
			continue
		}
		if err != nil {
			return
		}
		frame = append(frame, b)
		if len(frame) < 8 {
			continue
		}
		if answer := holding(frame); answer != nil {
			conn.Write(answer)
			l.answers.Add(1)
		}
		frame = nil
	}
}

func holding(request []byte) []byte {
	if crc(request) != 0 || request[0] != 1 || request[1] != 3 {
		return nil
	}
	size := 2 * int(request[5])
	answer := append([]byte{1, 3}, byte(size))
	for range size {
		answer = append(answer, 0x2a)
	}
	return binary.LittleEndian.AppendUint16(answer, crc(answer))
}

// crc is CRC-16/MODBUS; over a frame with its own CRC it is 0.
func crc(b []byte) uint16 {
	sum := uint16(0xffff)
	for _, v := range b {
		sum ^= uint16(v)
		for range 8 {
			odd := sum&1 != 0
			sum >>= 1
			if odd {
				sum ^= 0xa001
			}
		}
	}
	return sum
}
