package erratic_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/erratic"
	"gatewayd/bus"
	erraticv1 "gatewayd/schemas/erratic/v1"
)

const path = "playground/rogue"

func TestConforms(t *testing.T) {
	actorstest.Conform(t, erratic.Kind, &erraticv1.Erratic{})
}

func fast(how string, long time.Duration) *erraticv1.Erratic {
	return &erraticv1.Erratic{How: how, Duration: durationpb.New(long), Every: durationpb.New(5 * time.Millisecond)}
}

func tell(t *testing.T, r *actorstest.Rig, how string, long time.Duration) {
	t.Helper()
	req := &erraticv1.MisbehaveRequest{How: how, Duration: durationpb.New(long)}
	if _, err := actorstest.Call(r, path, "Misbehave", req, &erraticv1.MisbehaveResponse{}); err != nil {
		t.Fatal(err)
	}
}

func TestBehaves(t *testing.T) {
	r := actorstest.New(t)
	ticks := actorstest.Watch(r, "data/playground/rogue/ticks", &erraticv1.Tick{})
	cell := r.Start(path, erratic.Kind, fast("", 0))
	for want := uint64(1); want <= 3; want++ {
		if got := actorstest.Next(t, ticks).Number; got != want {
			t.Errorf("tick %d, want %d", got, want)
		}
	}
	r.Until("ok", func() bool { return cell.State() == actors.OK })
}

// Each misbehaviour is a fault of the level it stands for, in the config or by a command.
func TestFaults(t *testing.T) {
	const short = 10 * time.Millisecond
	for _, tt := range []struct {
		how     string
		level   actors.Level
		panics  bool
		command bool // can be requested by a command
		says    string
	}{
		{"error", actors.LevelRestart, false, true, "told to fail"},
		{"wedged", actors.LevelCycle, false, true, "told to fail"},
		{"broken", actors.LevelBroken, false, true, "told to fail"},
		{"panic", actors.LevelRestart, true, true, "told to panic"},
		{"panic-in-started", actors.LevelRestart, true, false, "told to panic in Started"},
		{"error-in-started", actors.LevelRestart, false, false, "told to fail"},
		{"hang-in-worker", actors.LevelCycle, false, true, "worker did not return"},
		{"leak", actors.LevelCycle, false, true, "worker did not return"},
	} {
		check := func(t *testing.T, r *actorstest.Rig) {
			f := actorstest.Next(t, r.Faults)
			if f.Level != tt.level || (f.Stack != nil) != tt.panics || !strings.Contains(f.Error(), tt.says) {
				t.Errorf("level %d, panic %v: %v", f.Level, f.Stack != nil, f)
			}
		}
		long := short
		if tt.level == actors.LevelCycle {
			long = 4 * time.Second // longer than all the time a worker may take
		}
		t.Run(tt.how+" by config", func(t *testing.T) {
			t.Parallel()
			r := actorstest.New(t).Once()
			r.Start(path, erratic.Kind, fast(tt.how, long))
			check(t, r)
		})
		if !tt.command {
			continue
		}
		t.Run(tt.how+" by command", func(t *testing.T) {
			t.Parallel()
			r := actorstest.New(t)
			cell := r.Start(path, erratic.Kind, fast("", 0))
			tell(t, r, tt.how, long)
			check(t, r)
			r.Until("healthy again", func() bool { return cell.Life() == 2 && cell.State() == actors.OK })
		})
	}
}

func TestHangs(t *testing.T) {
	for _, how := range []string{"hang", "slow"} {
		t.Run(how, func(t *testing.T) {
			r := actorstest.New(t)
			cell := r.Start(path, erratic.Kind, fast("", 0))
			tell(t, r, how, 300*time.Millisecond)
			r.Until("missed ticks", func() bool { return cell.Counters().MissedTicks > 10 })
			handled := cell.Counters().Handled
			r.Until("back again", func() bool { return cell.Counters().Handled > handled+3 })
			if cell.Life() != 1 || len(r.Faults) > 0 {
				t.Errorf("life %d, %d faults: a pause is no failure", cell.Life(), len(r.Faults))
			}
		})
	}
}

func TestHangsInStarted(t *testing.T) {
	r := actorstest.New(t)
	cell := r.Start(path, erratic.Kind, fast("hang-in-started", 2*time.Second))
	if got := cell.State(); got == actors.OK {
		t.Errorf("%s while it hangs in Started", got)
	}
	r.Until("up", func() bool { return cell.State() == actors.OK })
}

func TestStoppedGoesWrong(t *testing.T) {
	for _, how := range []string{"panic-in-stopped", "hang-in-stopped"} {
		t.Run(how, func(t *testing.T) {
			r := actorstest.New(t)
			cell := r.Start(path, erratic.Kind, fast("", 0))
			tell(t, r, how, 50*time.Millisecond)
			r.Stop(cell)
			if cell.State() != actors.Gone {
				t.Errorf("%s, want %s", cell.State(), actors.Gone)
			}
		})
	}
}

func TestFloodsOnlyItself(t *testing.T) {
	r := actorstest.New(t)
	cell := r.Start(path, erratic.Kind, fast("", 0))
	tell(t, r, "flood", 2*time.Second)
	r.Until("shed", func() bool { return cell.Counters().Shed > 1000 })
	if n := cell.Counters().Waiting; n > 256+8 {
		t.Errorf("%d messages wait, more than are admitted", n)
	}
	handled := cell.Counters().Handled
	r.Until("still served", func() bool { return cell.Counters().Handled > handled })
	if cell.Life() != 1 {
		t.Error("a flood has ended the life")
	}
}

func TestCount(t *testing.T) {
	r := actorstest.New(t)
	r.Start(path, erratic.Kind, fast("", 0))
	ctx, cancel := context.WithTimeout(context.Background(), actorstest.Patience)
	defer cancel()
	var got []uint32
	err := r.Bus.Stream(ctx, bus.Subject(actorstest.Gateway, bus.Cmd, path, "Count"), &erraticv1.CountRequest{To: 5}, func(m bus.Msg) error {
		n := &erraticv1.CountResponse{}
		err := m.Decode(n)
		got = append(got, n.Number)
		return err
	})
	if err != nil || len(got) != 5 || got[4] != 5 {
		t.Errorf("counted %v, %v", got, err)
	}
}
