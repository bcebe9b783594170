package uplinkmdi_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/actorstest/uplinktest"
	"gatewayd/actors/uplinkmdi"
	"gatewayd/protocols/record"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

func TestConforms(t *testing.T) {
	actorstest.Conform(t, uplinkmdi.Kind, &uplinkv1.UplinkMdi{Url: "tcp://127.0.0.1:1"})
}

// Receivers come and go; each record arrives at one of them, those of a track in order, and only
// once if the receiver remembers.
func TestNothingIsLost(t *testing.T) {
	c := newCloud(t)
	r := actorstest.New(t)
	w := uplinktest.NewRecorder(t, r)
	w.Write("tracks/a", 100, 200)
	w.Write("tracks/b", 50)
	cell := r.Start(path, uplinkmdi.Kind, c.config())
	r.Until("all is there", func() bool { return len(c.sequences("tracks/a")) == 300 && len(c.sequences("tracks/b")) == 50 })
	r.Until("it is acknowledged", func() bool { return uplinktest.Status(t, r, path).Backlog.Records == 0 })
	c.stop()
	w.Write("tracks/a", 100)
	r.Until("it is known to be gone", func() bool { return cell.State() == actors.Unreachable })
	c.again()
	r.Until("the rest is there", func() bool { return len(c.sequences("tracks/a")) == 400 })
	r.Until("it is acknowledged", func() bool { return uplinktest.Status(t, r, path).Backlog.Records == 0 })
	r.Stop(cell)
	cell.Remove()
	w.Write("tracks/b", 50)
	r.Start(path, uplinkmdi.Kind, c.config()) // starts another session
	r.Until("the rest is there", func() bool { return len(c.sequences("tracks/b")) == 100 })
	if a, b := c.sequences("tracks/a"), c.sequences("tracks/b"); !slices.Equal(a, uplinktest.UpTo(400)) || !slices.Equal(b, uplinktest.UpTo(100)) {
		t.Errorf("%v %v", a, b)
	}
	if s := uplinktest.Status(t, r, path); s.Counts.SentBytes == 0 || s.Counts.ReceivedBytes == 0 {
		t.Errorf("%v", s.Counts)
	}
}

// A record that the receiver refuses is reported and skipped.
func TestRefusedRecord(t *testing.T) {
	c := newCloud(t)
	c.refuse = func(r record.Record) bool { return r.Sequence == 7 }
	r := actorstest.New(t)
	rejected := actorstest.Watch(r, "event/"+path+"/rejected", &uplinkv1.Rejected{})
	(uplinktest.NewRecorder(t, r)).Write("tracks/a", 20)
	r.Start(path, uplinkmdi.Kind, c.config())
	if got := actorstest.Next(t, rejected); got.Record != "tracks/a 7" || !strings.Contains(got.Why, "bad taste") {
		t.Errorf("%v", got)
	}
	r.Until("the others are there", func() bool { return len(c.sequences("tracks/a")) == 19 })
	r.Until("nothing is left", func() bool {
		s := uplinktest.Status(t, r, path)
		return s.Backlog.Records == 0 && s.Counts.Rejected == 1
	})
}

func TestCommands(t *testing.T) {
	c := newCloud(t)
	r := actorstest.New(t)
	cfg := c.config()
	cfg.Commands = &uplinkv1.Commands{Allow: []string{"cmd/" + path + "/Status"}, Timeout: durationpb.New(10 * time.Second)}
	cell := r.Start(path, uplinkmdi.Kind, cfg)
	r.Until("it is there", func() bool {
		_, err := c.sink.Command(actorstest.Gateway, path, "Status", nil)
		return err == nil
	})
	if got := actorstest.Next(t, c.outcomes); !strings.Contains(got, `"status"`) {
		t.Error(got)
	}
	if _, err := c.sink.Command(actorstest.Gateway, path, "Restart", nil); err != nil {
		t.Fatal(err)
	}
	if got := actorstest.Next(t, c.outcomes); !strings.Contains(got, "is not among the commands that this uplink allows") {
		t.Error(got)
	}
	if cell.Life() != 1 {
		t.Errorf("life %d", cell.Life())
	}
}

// The status says why a receiver cannot be reached.
func TestNobodyThere(t *testing.T) {
	r := actorstest.New(t)
	cell := r.Start(path, uplinkmdi.Kind, &uplinkv1.UplinkMdi{Url: "tcp://127.0.0.1:1"})
	r.Until("it is said", func() bool {
		return cell.State() == actors.Unreachable && strings.Contains(uplinktest.Status(t, r, path).Error, "connection refused")
	})
}
