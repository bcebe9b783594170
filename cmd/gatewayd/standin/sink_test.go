package standin

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/mdi"
	"gatewayd/protocols/record"
	"gatewayd/protocols/tlsfiles"
	"gatewayd/protocols/uplink"
)

// Records of a gateway are printed as lines; commands are read as lines.
func TestSink(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	stdin, commands := io.Pipe()
	out, stdout := io.Pipe()
	text, stderr := io.Pipe()
	s := &sink{listen: "127.0.0.1:0", window: 4, commands: true, in: stdin, out: stdout, text: stderr}
	stop, end := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.run(stop) }()
	notices := bufio.NewScanner(text)
	notices.Scan()
	address, found := strings.CutPrefix(notices.Text(), "listens on tcp://")
	if !found {
		t.Fatal(notices.Text())
	}
	go func() {
		for notices.Scan() {
		}
	}()
	heard := make(chan uplink.Command, 1)
	session := mdi.NewSession(mdi.ClientConfig{Gateway: "site-17", Keepalive: time.Minute, Patience: time.Minute})
	x, err := session.Dial(ctx, mdi.Target{Address: address}, uplink.Callbacks{Command: func(c uplink.Command) { heard <- c }})
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	next := func() (line map[string]any) {
		t.Helper()
		if !lines.Scan() || json.Unmarshal(lines.Bytes(), &line) != nil {
			t.Fatalf("%q", lines.Text())
		}
		return line
	}
	sent := make(chan error, 1)
	go func() {
		sent <- x.Send(ctx, []record.Record{{
			Track: "tracks/meter", Number: 7, Sequence: 42, Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Boot: "b", Fields: []record.Field{
				{Name: "voltage", ID: 1, Unit: "V", Value: 230.1}, {Name: "power", ID: 2, Value: math.NaN()}, {Name: "state", ID: 3, Value: "on", Quality: "stale", Cause: "timeout"},
			},
		}})
	}()
	got := next()
	if got["gateway"] != "site-17" || got["track"] != "tracks/meter" || got["sequence"] != 42.0 || got["clock"] != "unsure" || got["time"] != "2026-03-01T12:00:00Z" ||
		fmt.Sprint(got["fields"]) != "map[power:NaN state:on voltage:230.1]" || fmt.Sprint(got["units"]) != "map[voltage:V]" || fmt.Sprint(got["quality"]) != "map[state:stale: timeout]" {
		t.Errorf("%v", got)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Fprintln(commands, `site-17 field/plc Write {"address": 10}`)
	c := <-heard
	if c.Actor != "field/plc" || c.Method != "Write" || string(c.Payload) != `{"address": 10}` {
		t.Errorf("%+v", c)
	}
	c.Answer([]byte(`{"ok":true}`), nil)
	if got := next(); got["command"] != 0.0 || fmt.Sprint(got["answer"]) != "map[ok:true]" {
		t.Errorf("%v", got)
	}
	_ = x.Close()
	end()
	if err := <-done; err != nil {
		t.Error(err)
	}
	_ = commands.Close()
}

func TestSinkRefuses(t *testing.T) {
	for name, s := range map[string]*sink{
		"want 1 to 64":                 {window: 65},
		"--cert, --key and --ca need":  {window: 1, files: tlsfiles.Files{CA: "x"}},
		"cert-file none.pem with key-": {window: 1, tls: true, listen: "127.0.0.1:0", files: tlsfiles.Files{Certificate: "none.pem"}},
		"listen on nowhere":            {window: 1, listen: "nowhere"},
	} {
		s.text = io.Discard
		if err := s.run(context.Background()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
