package modbusunit_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusunit"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/schedule"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// A unit gets the pauses that its config or profile asks for: one after each transaction, and a
// longer one after a write.
func TestAUnitRests(t *testing.T) {
	for name, x := range map[string]struct {
		settings, profile string
		read, write       time.Duration
	}{
		"none":                     {"", "", 0, 0},
		"after each transaction":   {"rest = \"50ms\"\n", "", 50 * time.Millisecond, 50 * time.Millisecond},
		"after a write":            {"rest-after-write = \"700ms\"\n", "", 0, 700 * time.Millisecond},
		"the longer after a write": {"rest = \"50ms\"\nrest-after-write = \"10ms\"\n", "", 50 * time.Millisecond, 50 * time.Millisecond},
		"as the profile says":      {"rest = \"10ms\"\n", "rest = \"20ms\"\nrest-after-write = \"300ms\"\n", 20 * time.Millisecond, 300 * time.Millisecond},
		"longer than it says":      {"rest-after-write = \"400ms\"\n", "rest = \"20ms\"\nrest-after-write = \"300ms\"\n", 20 * time.Millisecond, 400 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			dir, settings := t.TempDir(), x.settings+"points = [{ name = \"a\", address = 1 }]\n"
			if x.profile != "" {
				settings = "profile = \"mine\"\n" + settings
				text := "vendor = \"V\"\nmodel = \"M\"\nsource = \"S\"\n" + x.profile
				if err := os.Mkdir(filepath.Join(dir, "profiles"), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, "profiles", "mine.toml"), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cfg, problems := parsed(dir, settings)
			if problems != nil {
				t.Fatal(problems)
			}
			r := actorstest.New(t)
			asked := make(chan *dispatch.Ask, 1000)
			r.Peer(linkPath, func(msg any) any {
				ask, ok := msg.(*dispatch.Ask)
				if !ok {
					return nil
				}
				asked <- &dispatch.Ask{Class: ask.Class, Rest: ask.Rest}
				a := &dispatch.Answer{Ask: ask, Results: make([]dispatch.Result, len(ask.Requests))}
				for i, q := range ask.Requests {
					if !q.Write() {
						a.Results[i].Data = make([]byte, 2*q.Quantity)
					}
				}
				return a
			})
			r.Start(unitPath, modbusunit.Kind, cfg)
			of := func(class schedule.Class) time.Duration {
				t.Helper()
				return actorstest.NextWhere(t, asked, func(a *dispatch.Ask) bool { return a.Class == class }).Rest
			}
			if got := of(schedule.Poll); got != x.read {
				t.Errorf("%s after a poll, want %s", got, x.read)
			}
			if _, err := call(r, "ReadRegisters", &modbusv1.ReadRegistersRequest{}, &modbusv1.ReadRegistersResponse{}); err != nil {
				t.Fatal(err)
			}
			if got := of(schedule.Interactive); got != x.read {
				t.Errorf("%s after a read, want %s", got, x.read)
			}
			if _, err := call(r, "WriteRegisters", &modbusv1.WriteRegistersRequest{Address: proto.Uint32(1), Values: []uint32{1}}, &modbusv1.WriteRegistersResponse{}); err != nil {
				t.Fatal(err)
			}
			if got := of(schedule.Write); got != x.write {
				t.Errorf("%s after a write, want %s", got, x.write)
			}
		})
	}
}
