package edge_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/record"
	"gatewayd/protocols/sparkplug"
	"gatewayd/protocols/sparkplug/edge"
	"gatewayd/protocols/sparkplug/monitor"
	"gatewayd/protocols/uplink"
)

// commands sets what the host may write, and what that does.
func commands(c *edge.Config) {
	c.Node.Places = []sparkplug.Place{{Track: "tracks/own", Prefix: "own/"}, {Track: "tracks/boiler", Device: "boiler"}}
	c.Node.Commands = []sparkplug.Command{{Device: "boiler", Metric: "setpoint", Type: sparkplug.Float}, {Metric: "reset", Type: sparkplug.Boolean}}
	c.Targets = []edge.Target{{Actor: "field/boiler", Method: "WriteRegisters", Request: `{"address":10,"values":[{value}]}`}, {Actor: "field/plc", Method: "Reset"}}
	c.Targets[1].Request = `{}`
}

// TestAssertions goes through the life of a node with two real servers and a primary host, and
// prints how often each assertion of the specification was exercised.
func TestAssertions(t *testing.T) {
	asked := make(chan uplink.Command, 10)
	s := newSite(t, 2, "scada", commands)
	s.hear.Command = func(c uplink.Command) { asked <- c }
	s.say(true, 0, 1)
	x := s.dial()
	send := func(all ...record.Record) {
		t.Helper()
		if err := x.Send(patient(t), all); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	send(one("tracks/own", 1, now, "cpu", 0.5, "text", "a"), one("tracks/boiler", 1, now, "power", 1.5), one("tracks/meter", 1, now, "on", true))
	s.until("data", func(all []told) bool { return count(all, sparkplug.NDATA) == 1 && count(all, sparkplug.DDATA) == 2 })
	bad := one("tracks/own", 2, time.Now(), "cpu", 0.7)
	bad.Fields[0].Quality = "bad"
	send(bad)
	for i := range 300 { // the sequence number wraps around
		send(one("tracks/meter", uint64(i+2), time.Now(), "on", i%2 == 0))
	}
	send(record.Record{Track: "tracks/meter", Sequence: 302, Time: time.Now(), Absent: true})
	s.until("a death", func(all []told) bool { return count(all, sparkplug.DDEATH) == 1 })
	send(one("tracks/meter", 303, time.Now(), "on", true))

	births := func() int { s.mu.Lock(); defer s.mu.Unlock(); return count(s.heard, sparkplug.NBIRTH) }
	before := births()
	s.command(0, "", sparkplug.Rebirth, true)
	s.until("a rebirth", func(all []told) bool { return count(all, sparkplug.NBIRTH) > before })
	s.command(0, "boiler", "setpoint", float32(20.5))
	c := <-asked
	if c.Actor != "field/boiler" || c.Method != "WriteRegisters" || string(c.Payload) != `{"address":10,"values":[20.5]}` {
		t.Errorf("%+v", c)
	}
	c.Answer(nil, nil)
	s.until("the outcome", func(all []told) bool { return strings.Contains(fmt.Sprint(all[len(all)-1].Metrics), "20.5") })
	s.command(0, "", "reset", true)
	c = <-asked
	c.Answer(nil, errors.New("no answer"))
	s.until("the outcome", func(all []told) bool { return strings.Contains(fmt.Sprint(all[len(all)-1].Metrics), "no answer") })

	// Long ago.
	s.publish(0, sparkplug.StateTopic("scada"), false, []byte(`{"online":false,"timestamp":0}`))
	before = births()
	s.command(0, "", sparkplug.Rebirth, true)
	s.until("a rebirth", func(all []told) bool { return count(all, sparkplug.NBIRTH) > before })
	send(one("tracks/own", 3, time.Now(), "cpu", 0.8))
	s.say(false, 0)
	if err := <-s.lost; err.Error() != "the primary host scada is offline" {
		t.Error(err)
	}
	if err := x.Send(patient(t), []record.Record{one("tracks/own", 4, time.Now(), "cpu", 0.9)}); err == nil {
		t.Error("sent without a connection")
	}
	_ = x.Close()
	x = s.dial()
	send(one("tracks/own", 4, now, "cpu", 0.9)) // historical
	s.until("data at the other server", func(all []told) bool { return all[len(all)-1].Verb == sparkplug.NDATA })
	s.stopping(true)
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	s.until("the death", func(all []told) bool { return all[len(all)-1].Verb == sparkplug.NDEATH })
	s.fine()
	s.table()
}

// table prints the assertions.
func (s *site) table() {
	ids, without := monitor.Assertions()
	s.shared.Do(func(m *monitor.Monitor) {
		checked, n := m.Checked(), 0
		for _, id := range ids {
			switch {
			case without[id] != "":
				s.t.Logf("%-90s –     %s", id, without[id])
			case checked[id] == 0:
				s.t.Errorf("%-90s was not exercised", id)
			default:
				n++
				s.t.Logf("%-90s %d", id, checked[id])
			}
		}
		s.t.Logf("%d of %d assertions exercised", n, len(ids))
	})
}

func TestTheServerMustBeThere(t *testing.T) {
	s := newSite(t, 2, "", nil)
	_ = s.taps[0].Close()
	x := s.dial() // to the next one
	defer x.Close()
	if err := x.Send(patient(t), []record.Record{one("a", 1, time.Now(), "f", 1.0)}); err != nil {
		t.Error(err)
	}
	if !slices.Equal(s.saved, []int{0, 0}) { // nothing was published at the first one
		t.Error(s.saved)
	}
	s.taps[1].Cut()
	if err := <-s.lost; err == nil {
		t.Error("no reason")
	}
	if err := x.Send(patient(t), []record.Record{one("a", 2, time.Now(), "f", 1.0)}); err == nil {
		t.Error("sent without a connection")
	}
	s.until("the will", func(all []told) bool { return count(all, sparkplug.NDEATH) == 1 })
	s.fine()
}

// The errors of all servers are reported.
func TestNoServerIsThere(t *testing.T) {
	s := newSite(t, 2, "", nil)
	for _, tap := range s.taps {
		_ = tap.Close()
	}
	_, err := s.edge.Dial(patient(t), s.hear)
	for _, tap := range s.taps {
		if err == nil || !strings.Contains(err.Error(), tap.Address()) {
			t.Errorf("%v does not name %s", err, tap.Address())
		}
	}
}

// A failing store does not keep a node from sending.
func TestNothingIsKept(t *testing.T) {
	var notes []string
	s := newSite(t, 1, "", func(c *edge.Config) {
		c.Save = func(context.Context, int) error { return errors.New("disk full") }
		c.Note = func(text string) { notes = append(notes, text) }
	})
	x := s.dial()
	if err := x.Send(patient(t), []record.Record{one("a", 1, time.Now(), "f", 1.0)}); err != nil {
		t.Error(err)
	}
	s.stopping(true)
	_ = x.Close()
	if len(notes) != 1 || !strings.Contains(notes[0], "disk full") {
		t.Error(notes)
	}
	s.fine()
}

// A node publishes nothing while its primary host is offline, reports why, and disconnects
// regularly.
func TestItWaitsForItsHost(t *testing.T) {
	s := newSite(t, 1, "scada", nil)
	dial := func(want string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		if _, err := s.edge.Dial(ctx, s.hear); err == nil || !strings.Contains(err.Error(), want) {
			t.Fatalf("%v, want %s", err, want)
		}
	}
	s.stopping(true)
	dial("no STATE message from the primary host scada yet")
	s.say(false, 0)
	dial("the primary host scada is offline since 1970-01-01T00:00:00Z")
	s.until("deaths", func(all []told) bool { return count(all, sparkplug.NDEATH) == 2 })
	s.shared.Rest()
	s.stopping(false)
	done, told := make(chan uplink.Sender), make(chan string, 100)
	hear := s.hear
	hear.Waiting = func(why string) { told <- why }
	go func() {
		x, err := s.edge.Dial(patient(t), hear)
		if err != nil {
			t.Error(err)
		}
		done <- x
	}()
	if why := <-told; !strings.Contains(why, "the primary host scada is offline") {
		t.Error(why)
	}
	s.say(true, 0)
	x := <-done
	s.stopping(true)
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	s.fine()
}

// Under continuous rebirth requests nothing is published out of turn, and data continues.
func TestRebirthStorm(t *testing.T) {
	s := newSite(t, 1, "", nil)
	x := s.dial()
	defer x.Close()
	for i := range 2000 {
		s.command(0, "", sparkplug.Rebirth, true)
		if i%500 == 0 {
			if err := x.Send(patient(t), []record.Record{one("a", uint64(i+1), time.Now(), "f", int64(i))}); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.until("all data", func(all []told) bool { return count(all, sparkplug.DDATA) >= 4 })
	s.mu.Lock()
	births := count(s.heard, sparkplug.NBIRTH)
	s.mu.Unlock()
	if births > 200 {
		t.Errorf("%d births", births)
	}
	s.fine()
}
