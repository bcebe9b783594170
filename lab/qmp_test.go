package lab

import (
	"context"
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"
)

// A dialogue in QEMU's form: plug, plug again, unplug, with an event before an answer and one after it.
func TestQMP(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	near, far := net.Pipe()
	defer near.Close()
	script := []string{
		`{"return": {}}`,
		`{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RTC_CHANGE", "data": {"offset": 0}}
		 {"return": {}}`,
		`{"error": {"class": "GenericError", "desc": "Duplicate device ID 'adapter'"}}`,
		`{"return": {}}
		 {"timestamp": {"seconds": 1, "microseconds": 2}, "event": "DEVICE_DELETED", "data": {"device": "adapter", "path": "/machine/peripheral/adapter"}}`,
	}
	go func() {
		defer far.Close()
		far.Write([]byte(`{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": []}}`))
		in := json.NewDecoder(far)
		for _, answer := range script {
			var request struct{ Execute string }
			if in.Decode(&request) != nil {
				return
			}
			far.Write([]byte(answer + "\r\n"))
		}
	}()
	q, err := newQMP(ctx, near)
	if err != nil {
		t.Fatal(err)
	}
	m := &Machine{qmp: q}
	if err := m.Plug(ctx, "usb-serial", "adapter", nil); err != nil {
		t.Fatal(err)
	}
	if err := m.Plug(ctx, "usb-serial", "adapter", nil); err == nil || !strings.Contains(err.Error(), "Duplicate device ID") {
		t.Fatalf("a second adapter: %v", err)
	}
	if err := m.Unplug(ctx, "adapter"); err != nil {
		t.Fatal(err)
	}
	if err := q.event(ctx, "SHUTDOWN"); err == nil {
		t.Fatal("an event after the end")
	}
}
