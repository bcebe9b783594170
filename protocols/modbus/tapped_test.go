package modbus_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/freeport"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/peer"
)

// all returns what an ear has received so far, as direction and mark, and bytes.
func all(t *testing.T, tap *modbus.Tap, ear *modbus.TapReader) (frames []modbus.Frame) {
	t.Helper()
	if n := ear.Missed(); n > 0 {
		t.Fatalf("%d frames were missed", n)
	}
	last := tap.Last()
	end := last[len(last)-1]
	for {
		f, err := ear.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, f)
		if f.At.Sub(end.At).Abs() < time.Microsecond && f.Direction == end.Direction {
			return frames
		}
	}
}

var shown = regexp.MustCompile(`(?m)^(?:<[0-9A-F]{2}>|\[[0-9A-F]{2}\])+`)

// A tap sees exactly the bytes that libmodbus's server reports as received and sent.
func TestTapAgreesWithLibmodbus(t *testing.T) {
	server := peer.Libmodbus(t, "testdata/server.c")
	for _, f := range []modbus.Framing{modbus.TCP, modbus.RTU} {
		t.Run(f.String(), func(t *testing.T) {
			var said bytes.Buffer
			tap := modbus.NewTap()
			port, conn := freeport.Port(t), modbus.Conn(nil)
			where := port
			if f == modbus.RTU {
				near, far := tty(t)
				where, conn = near.Name(), far
			}
			c := exec.Command(server[0], f.String(), where)
			c.Env, c.Stdout = append(c.Environ(), "SHOW=1"), &said
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			end := func() { _ = c.Process.Kill(); _ = c.Wait() }
			defer end()
			if f == modbus.TCP {
				conn = dialed(t, port)
			} else {
				awake(t, conn, f)
			}
			l := modbus.NewLink(conn, f, modbus.Options{Timeout: 3 * time.Second, Tap: tap})
			ear, err := tap.Listen(modbus.Filter{Unit: -1}, false)
			if err != nil {
				t.Fatal(err)
			}
			everyFunction(t, l, 7)
			var want []string
			for _, f := range all(t, tap, ear) {
				if f.Direction == modbus.Happened || f.Mark != modbus.Good || f.Unit != 7 {
					t.Errorf("%s %d %x", f.Mark, f.Direction, f.Bytes)
				}
				want = append(want, fmt.Sprintf("%d %s", f.Direction, hex.EncodeToString(f.Bytes)))
			}
			end()
			var got []string
			for _, line := range shown.FindAllString(said.String(), -1) {
				direction := modbus.Sent // what the server has received
				if line[0] == '[' {
					direction = modbus.Received
				}
				got = append(got, fmt.Sprintf("%d %s", direction, strings.ToLower(strings.NewReplacer("<", "", ">", "", "[", "", "]", "").Replace(line))))
			}
			if len(got) > len(want) {
				got = got[len(got)-len(want):] // the server was woken with earlier requests
			}
			if a, b := strings.Join(got, "\n"), strings.Join(want, "\n"); a != b || len(got) < 20 {
				t.Errorf("libmodbus says\n%s\nthe tap\n%s", a, b)
			}
		})
	}
}

// Everything that pymodbus answers is frames, with nothing between them.
func TestTapOfPymodbus(t *testing.T) {
	server := peer.Pymodbus(t, "testdata/server.py")
	for _, f := range []modbus.Framing{modbus.RTU, modbus.ASCII} {
		t.Run(f.String(), func(t *testing.T) {
			near, far := tty(t)
			peer.Start(t, append(server, f.String(), near.Name())...)
			awake(t, far, f)
			tap := modbus.NewTap()
			l := modbus.NewLink(far, f, modbus.Options{Timeout: 3 * time.Second, Tap: tap})
			ear, err := tap.Listen(modbus.Filter{Unit: -1}, false)
			if err != nil {
				t.Fatal(err)
			}
			everyFunction(t, l, 7)
			way := modbus.Received
			for i, f := range all(t, tap, ear) {
				if way = modbus.Sent + modbus.Received - way; f.Direction != way || f.Mark != modbus.Good {
					t.Errorf("frame %d: %d %s %x", i, f.Direction, f.Mark, f.Bytes)
				}
			}
		})
	}
}
