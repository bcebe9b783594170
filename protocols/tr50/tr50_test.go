package tr50

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gatewayd/protocols/mqttclient"
	"gatewayd/protocols/mqttclient/mosquitto"
	"gatewayd/protocols/record"
	"gatewayd/protocols/tr50/tr50test"
	"gatewayd/protocols/uplink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 2 * time.Minute

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 123_000_000, time.UTC)

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// rig returns a server at a broker, and a session.
func rig(t *testing.T) (*tr50test.Server, *Session) {
	t.Helper()
	url := "tcp://" + mosquitto.Run(t)
	server, err := tr50test.New(soon(t), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return server, NewSession(Config{
		Broker: mqttclient.Config{URL: url, ClientID: "app-1", Username: "gw1", Password: "token"}, Every: time.Hour,
		Form:    Form{Key: "${track}.${field}", Alarms: []string{"*-alarm"}, Logs: []string{"note"}, Place: Place{Latitude: "lat", Longitude: "lon", Speed: "speed"}},
		Methods: map[string]string{"set-pump": "field/plc/mixer/WriteRegisters"},
	})
}

func dial(t *testing.T, s *Session, hear uplink.Callbacks) uplink.Sender {
	t.Helper()
	x, err := s.Dial(soon(t), hear)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return x
}

func rec(sequence int, fields ...record.Field) record.Record {
	return record.Record{Track: "tracks/meter", Sequence: uint64(sequence), Time: epoch.Add(time.Duration(sequence) * time.Second), Fields: fields}
}

// texts returns what was published, in short form.
func texts(all []tr50test.Published) (short []string) {
	for _, p := range all {
		short = append(short, p.String())
	}
	return short
}

func TestEveryKind(t *testing.T) {
	server, s := rig(t)
	x := dial(t, s, uplink.Callbacks{})
	absent := rec(3)
	absent.Absent, absent.Cause = true, "timeout"
	batch := []record.Record{
		rec(1, record.Field{Name: "power", Value: 21.5}, record.Field{Name: "on", Value: true}, record.Field{Name: "n", Value: int64(-7)},
			record.Field{Name: "big", Value: uint64(1 << 40)}, record.Field{Name: "mode", Value: "auto"}, record.Field{Name: "raw", Value: []byte{1, 2}},
			record.Field{Name: "old", Value: 1.0, Quality: "stale"}, record.Field{Name: "none"}),
		rec(2, record.Field{Name: "heat-alarm", Value: true}, record.Field{Name: "note", Value: "door opened"},
			record.Field{Name: "lat", Value: 48.8}, record.Field{Name: "lon", Value: 2.3}, record.Field{Name: "speed", Value: int64(3)}),
		absent,
		rec(4, record.Field{Name: "old", Value: 1.0, Quality: "bad"}), // nothing of it is published
	}
	if err := x.Send(soon(t), batch); err != nil {
		t.Fatal(err)
	}
	got := texts(server.Got())
	slices.Sort(got)
	want := []string{
		"alarm meter.heat-alarm=1", "attribute meter.mode=auto", "attribute meter.raw=AQI=", "location <nil>=48.8", "log <nil>=door opened",
		"log <nil>=nothing was received from tracks/meter: timeout", "property meter.big=1.099511627776e+12", "property meter.n=-7", "property meter.on=1", "property meter.power=21.5",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	for _, p := range server.Got() {
		if ts := p.Params["ts"].(string); !strings.HasSuffix(ts, ".123Z") || len(ts) != len("2014-04-05T02:03:04.322Z") {
			t.Errorf("%s at %s", p, ts)
		}
	}
	if up, down := x.(uplink.Metered).Traffic(); up < 500 || down < 20 {
		t.Errorf("%d octets up, %d down", up, down)
	}
	if err := x.Send(soon(t), batch[3:]); err != nil {
		t.Error(err)
	}
}

// A record that the server refuses is found within its batch; the others count.
func TestBadRecordIsIsolated(t *testing.T) {
	server, s := rig(t)
	server.Refuse(func(p tr50test.Published) string {
		if p.Params["value"] == 7.0 {
			return "out of range"
		}
		return ""
	})
	x := dial(t, s, uplink.Callbacks{})
	var batch []record.Record
	for i := range 200 {
		batch = append(batch, rec(i, record.Field{Name: "power", Value: float64(i)}, record.Field{Name: "mode", Value: fmt.Sprint("m", i)}))
	}
	err := x.Send(soon(t), batch)
	var rejected *uplink.RejectedError
	if !errors.As(err, &rejected) || !rejected.Taken || len(rejected.Records) != 1 || rejected.Records[0] != (uplink.Refusal{Index: 7, Why: "meter.power: out of range (-90008)"}) {
		t.Fatalf("%v", err)
	}
	there := map[string]bool{}
	for _, p := range texts(server.Got()) {
		there[p] = true
	}
	if len(there) != 399 || there["property meter.power=7"] || !there["property meter.power=199"] || !there["attribute meter.mode=m7"] {
		t.Errorf("%d", len(there))
	}
}

// A server that refuses everything rejects the client, not the records.
func TestEverythingRefused(t *testing.T) {
	server, s := rig(t)
	server.Refuse(func(tr50test.Published) string { return "Device not found" })
	x := dial(t, s, uplink.Callbacks{})
	err := x.Send(soon(t), []record.Record{rec(1, record.Field{Name: "a", Value: 1.0}), rec(2, record.Field{Name: "a", Value: 2.0})})
	var rejected *uplink.RejectedError
	if err == nil || errors.As(err, &rejected) || !strings.Contains(err.Error(), "Device not found") {
		t.Fatalf("%v", err)
	}
	server.Refuse(nil)
	if err := x.Send(soon(t), []record.Record{rec(1, record.Field{Name: "a", Value: 1.0})}); err != nil {
		t.Error(err)
	}
}

// PUBACK is not enough: without a reply nothing is acknowledged.
func TestNoReply(t *testing.T) {
	server, s := rig(t)
	server.Silent(func(e string) bool { return strings.Contains(e, "property") })
	x := dial(t, s, uplink.Callbacks{})
	ctx, cancel := context.WithTimeout(soon(t), 300*time.Millisecond)
	defer cancel()
	err := x.Send(ctx, []record.Record{rec(1, record.Field{Name: "a", Value: 1.0})})
	if want := "the broker accepted property.publish, but no TR50 server replies in time"; err == nil || err.Error() != want || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("acknowledged by nobody: %v", err)
	}
}

func TestMailbox(t *testing.T) {
	server, s := rig(t)
	if err := server.Exec("before", "gw1", "set-pump", map[string]any{"address": 1}, true); err != nil {
		t.Fatal(err)
	}
	heard := make(chan uplink.Command, 10)
	x := dial(t, s, uplink.Callbacks{Command: func(c uplink.Command) { heard <- c }})
	c := <-heard // it waited for the connection
	if c.Actor != "field/plc/mixer" || c.Method != "WriteRegisters" || string(c.Payload) != `{"address":1}` {
		t.Errorf("%+v", c)
	}
	// While it runs it is not carried out again, although it is still in the mailbox.
	_ = server.Exec("second", "gw1", "field/gate/Open", nil, false)
	second := <-heard
	if second.Actor != "field/gate" || second.Method != "Open" || len(second.Payload) != 0 {
		t.Errorf("%+v", second)
	}
	c.Answer([]byte(`{"done":true}`), nil)
	second.Answer(nil, errors.New("it is stuck"))
	_ = server.Exec("third", "gw1", "no-such", nil, false)
	acked := func(id string) tr50test.Ack {
		t.Helper()
		for ctx := soon(t); ctx.Err() == nil; time.Sleep(time.Millisecond) {
			if a, ok := server.Acked(id); ok {
				return a
			}
		}
		t.Fatalf("%s is not acknowledged", id)
		return tr50test.Ack{}
	}
	if a := acked("before"); a.ErrorCode != 0 || string(a.Params) != `{"done":true}` {
		t.Errorf("%+v", a)
	}
	if a := acked("second"); a.ErrorCode != 4 || a.ErrorMessage != "it is stuck" {
		t.Errorf("%+v", a)
	}
	if a := acked("third"); a.ErrorCode != 12 {
		t.Errorf("%+v", a)
	}
	// A command whose acknowledgement was lost comes again with the next connection, and is not
	// carried out again.
	_ = server.Exec("late", "gw1", "set-pump", nil, false)
	late := <-heard
	_ = x.Close()
	late.Answer([]byte(`{"late":true}`), nil)
	dial(t, s, uplink.Callbacks{Command: func(c uplink.Command) { heard <- c }})
	if a := acked("late"); string(a.Params) != `{"late":true}` {
		t.Errorf("%+v", a)
	}
	if len(heard) != 0 {
		t.Errorf("%+v", <-heard)
	}
}

func TestConnectionLost(t *testing.T) {
	_, s := rig(t)
	lost := make(chan error, 1)
	var conn net.Conn
	s.cfg.Broker.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
		var err error
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return conn, err
	}
	x := dial(t, s, uplink.Callbacks{Lost: func(err error) { lost <- err }})
	conn.Close()
	if err := <-lost; err == nil {
		t.Error("lost for no reason")
	}
	if err := x.Send(soon(t), []record.Record{rec(1, record.Field{Name: "a", Value: 1.0})}); err == nil {
		t.Error("sent")
	}
}

func FuzzReplies(f *testing.F) {
	f.Add([]byte(`{"1":{"success":true},"2":{"success":false,"errorCodes":[-22],"errorMessages":["Device not found"]}}`))
	f.Add([]byte(`{"1":{"success":true,"params":{"messages":[{"id":"5","command":"method.exec","params":{"method":"m","params":{}}}]}},"2":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := responses(b, 2)
		if err != nil {
			return
		}
		for _, r := range all {
			if (r.failure() == "") != *r.Success {
				t.Errorf("%s", b)
			}
			_, _ = letters(r.Params)
		}
	})
}

func TestKeys(t *testing.T) {
	for key, good := range map[string]bool{"${track}.${field}": true, "${path}/${field}": true, "${field}": true, "power": false, "${field} ${unit}": false} {
		if err := CheckKey(key); (err == nil) != good {
			t.Errorf("%s: %v", key, err)
		}
	}
	if k := (Form{Key: "${path}:${field}"}).key("tracks/a/b", "x"); k != "tracks.a.b:x" {
		t.Error(k)
	}
	for pattern, name := range map[string]string{"*": "x", "a*c": "abc", "*-alarm": "heat-alarm", "a": "a", "**": ""} {
		if !like(pattern, name) {
			t.Errorf("%s is not like %s", name, pattern)
		}
	}
	if like("a*c", "ab") || like("*x", "y") || like("a", "ab") {
		t.Error("like what it is not")
	}
}
