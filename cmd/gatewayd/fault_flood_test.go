package main

import (
	"bytes"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatewayd/bus"
	"gatewayd/protocols/freeport"
	actorv1 "gatewayd/schemas/actor/v1"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// faultPackets are what 500 MQTT clients send.
var faultPackets = [][]byte{
	nil,                      // connects and sends nothing
	{0x10, 0xff, 0xff, 0x7f}, // a CONNECT of 2 MB that never arrives
	{0x10, 0xff, 0xff, 0xff, 0xff, 0xff},
	bytes.Repeat([]byte{0x00}, 512),
	bytes.Repeat([]byte{0xfe}, 4096),
	[]byte("GET / HTTP/1.1\r\nHost: gateway\r\n\r\n"),
	{0x10, 0x0c, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, 0},                              // keep-alive 0, then nothing
	{0x10, 0x0c, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, 0, 0x82, 6, 0, 1, 0, 1, '#', 0}, // subscribes to everything and never reads
}

// 500 stalled and malformed MQTT clients and a flood of commands do not affect polling.
func TestFaultFloods(t *testing.T) {
	s := newSite(t)
	units := s.host("plc", 100*time.Millisecond, 1, 2)
	aim := s.host("aim", 100*time.Millisecond, 3) // target of the commands
	_, serial := s.wire("rs485", 200*time.Millisecond, 11)
	address := freeport.Address(t)
	s.extra = faultLab + "\n[mqtt]\nkind = \"mqtt-broker\"\nlisten = \"" + address + "\"\nmax-clients-per-address = 500\nmax-clients = 600\n"
	r := s.start()
	w, m := r.watch(), startMetronome(t)
	w.good(append(units, serial...)...)
	r.until("the broker is well", func() bool { return r.state1("mqtt") == "ok" })
	begin := time.Now()

	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for i := range 500 {
		c, err := net.DialTimeout("tcp", address, faultWait)
		if err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
		_, _ = c.Write(faultPackets[i%len(faultPackets)])
		conns = append(conns, c)
	}
	long := 6 * time.Second
	if testing.Short() {
		long = 2 * time.Second
	}
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	var all sync.WaitGroup
	var done, refused atomic.Int64
	for i := range 16 {
		all.Go(func() {
			for ctx.Err() == nil {
				var err error
				switch i % 2 {
				case 0:
					err = r.conn.Call(ctx, bus.Subject("fault", bus.Cmd, aim[0].path, "WriteRegisters"),
						&modbusv1.WriteRegistersRequest{Values: []uint32{uint32(i)}}, &modbusv1.WriteRegistersResponse{})
				case 1:
					err = r.conn.Call(ctx, bus.Subject("fault", bus.Cmd, "lab/rogue", "Describe"),
						&actorv1.DescribeRequest{}, &actorv1.DescribeResponse{})
				}
				if err == nil {
					done.Add(1)
				} else if ctx.Err() == nil {
					refused.Add(1)
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d commands served, %d refused in %s", done.Load(), refused.Load(), long)
	if done.Load() == 0 {
		t.Error("no command was served")
	}
	w.undisturbed(begin, m, units...)
	// The wire is simulated in this process, which the flood keeps busy too. But a line that stood
	// still would not have been polled at all.
	if n := len(serial[0].since(begin)); n < int(long/serial[0].every)/4 {
		t.Errorf("%s: polled %d times only", serial[0].path, n)
	}
	r.until("all is well", func() bool { return r.state1("mqtt") == "ok" && r.state1("bus") == "ok" })
	t.Logf("stopped in %s", r.stop(faultWait).Round(time.Millisecond))
}
