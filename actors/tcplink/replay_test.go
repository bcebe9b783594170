package tcplink_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusunit"
	"gatewayd/actors/tcplink"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/record"
)

// A recorded hour of a PLC that counts its seconds and restarts in the middle, replayed in a
// moment.
func TestReplayOfARestart(t *testing.T) {
	dir := t.TempDir()
	toml, recording := filepath.Join(dir, "gateway.toml"), filepath.Join(dir, "restart.txt")
	if err := os.WriteFile(toml, []byte(`gateway = "test"
[plc.link]
kind = "tcp-link"
address = "10.0.0.5"
[plc.unit]
kind = "modbus-unit"
link = "plc/link"
unit = 3
every = "1s"
points = [{ name = "seconds", address = 5, type = "uint16" }]
`), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(recording)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := record.NewWriter(f, record.Header{Link: "plc/link", Framing: modbus.TCP, Transport: "tcp"})
	if err != nil {
		t.Fatal(err)
	}
	const lost, back, end = 1800, 1810, 3600
	for s := range uint16(end) {
		at := time.Duration(s) * time.Second
		entries := []record.Entry{
			{At: at, Direction: modbus.Sent, Bytes: modbus.AppendFrame(nil, modbus.TCP, s, 3, []byte{3, 0, 5, 0, 1})},
			{At: at + 20*time.Millisecond, Direction: modbus.Received, Bytes: modbus.AppendFrame(nil, modbus.TCP, s, 3, binary.BigEndian.AppendUint16([]byte{3, 2}, s))},
		}
		switch {
		case s == lost:
			entries[1] = record.Entry{At: at + 20*time.Millisecond, Mark: modbus.Lost}
		case s > lost && s < back:
			continue
		case s == back:
			entries = append([]record.Entry{{At: at, Mark: modbus.Opened}}, entries...)
		}
		for _, e := range entries {
			if err := w.Write(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := actorstest.Replay(t, recording, toml, func(dial actorstest.Dial) []actors.Kind {
		return []actors.Kind{tcplink.Over(dial), modbusunit.Kind}
	})
	if len(got.Strangers) > 0 || len(got.Faults) > 0 {
		t.Fatalf("%q, %v", got.Strangers, got.Faults)
	}
	begin := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	all := got.Samples("plc/unit", "points")
	if len(all) < end-30 {
		t.Errorf("%d samples", len(all))
	}
	stale := 0
	for _, s := range all {
		after, one := s.Time.AsTime().Sub(begin).Seconds(), s.Samples[0]
		if one.Quality == "" && (one.GetNumber() < after-2 || one.GetNumber() > after+1) {
			t.Errorf("after %g s: %v", after, one)
		}
		if one.Quality != "" {
			if stale++; after < lost-1 || after > back+60 || !strings.Contains(one.Cause, "10.0.0.5") && !strings.HasPrefix(one.Cause, "quarantined") {
				t.Errorf("after %g s: %v", after, one)
			}
		}
	}
	if stale < 5 {
		t.Errorf("%d stale samples", stale)
	}
}
