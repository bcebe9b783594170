package modbusfirewall_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusfirewall"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// tripped returns the tripped groups according to the note on disk.
func tripped(r *actorstest.Rig) []string {
	var s modbusv1.DeadManState
	if !r.Noted(path, "dead-man", &s) {
		return []string{"?"}
	}
	slices.Sort(s.Tripped)
	return s.Tripped
}

func noteTripped(r *actorstest.Rig, groups ...string) {
	r.Note(path, "dead-man", &modbusv1.DeadManState{Tripped: groups})
}

// A group that trips while the note on disk cannot be read does not erase the groups that had
// tripped before.
func TestATripWhileTheStoreFailsForgetsNoOther(t *testing.T) {
	r := actorstest.New(t)
	noteTripped(r, "pump")
	back := r.LoseDisk()
	cell := r.Start(path, modbusfirewall.Kind, guarded(100*time.Millisecond))
	r.Until("the boiler has tripped", func() bool { return cell.State() == actors.Degraded })
	back()
	r.Until("both stand on disk", func() bool { return slices.Equal(tripped(r), []string{"boiler", "pump"}) })
}

// A tripped group that was taken out of the config does not trip when it is added again after that
// config has settled.
func TestAGroupThatHasGoneIsForgotten(t *testing.T) {
	r := actorstest.New(t)
	noteTripped(r, "boiler", "gone")
	cell := r.Start(path, modbusfirewall.Kind, guarded(time.Hour))
	settle(r, guarded(time.Hour))
	r.Until("one is there no more", func() bool { return slices.Equal(tripped(r), []string{"boiler"}) })
	none := &modbusv1.Firewall{Otherwise: "allow"}
	cell.Reconfigure(none)
	settle(r, none)
	r.Until("none is there any more", func() bool { return len(tripped(r)) == 0 })
}

func settle(r *actorstest.Rig, cfg *modbusv1.Firewall) {
	r.System.Settle(func(string) proto.Message { return cfg })
}

// A reload takes out a tripped group and is taken back: the group returns tripped, also in a life
// that has never had it, and after UpdateConfig has removed what the file has.
func TestAGroupComesBackTripped(t *testing.T) {
	none := &modbusv1.Firewall{Otherwise: "allow"}
	again := func(t *testing.T, r *actorstest.Rig, cell *actors.Cell) {
		t.Helper()
		r.Until("the group has gone", func() bool { return cell.State() == actors.OK })
		if got := tripped(r); !slices.Equal(got, []string{"boiler"}) {
			t.Errorf("%q stand on disk", got)
		}
		cell.Reconfigure(guarded(time.Hour))
		r.Until("it has tripped", func() bool { return cell.State() == actors.Degraded })
		r.Until("it stands on disk", func() bool { return slices.Equal(tripped(r), []string{"boiler"}) })
	}
	for name, settled := range map[string]*modbusv1.Firewall{"on trial": nil, "updated": guarded(time.Hour)} {
		t.Run(name, func(t *testing.T) {
			r := actorstest.New(t)
			noteTripped(r, "boiler")
			cell := r.Start(path, modbusfirewall.Kind, guarded(time.Hour))
			r.Until("it has tripped", func() bool { return cell.State() == actors.Degraded })
			if settled != nil {
				settle(r, settled)
			}
			cell.Reconfigure(none)
			again(t, r, cell)
		})
	}
	t.Run("in another life", func(t *testing.T) {
		r := actorstest.New(t)
		noteTripped(r, "boiler", "gone")
		settle(r, guarded(time.Hour))
		cell := r.Start(path, modbusfirewall.Kind, none)
		r.Until("it has looked", func() bool { return slices.Equal(tripped(r), []string{"boiler"}) })
		again(t, r, cell)
	})
}

// A damaged note is reported and does not keep later trips from being written down.
func TestANoteThatIsDamaged(t *testing.T) {
	r := actorstest.New(t)
	noteTripped(r, "pump")
	file := filepath.Join(r.System.Dir, path, "dead-man.json")
	if err := os.Truncate(file, 20); err != nil {
		t.Fatal(err)
	}
	cell := r.Start(path, modbusfirewall.Kind, guarded(time.Hour))
	r.Until("it is told", func() bool {
		return cell.State() == actors.Degraded && strings.Contains(cell.Health().Cause, "that tripped before this start are unknown: "+file+".damaged: damaged")
	})
	r.Until("none stands on disk", func() bool { return len(tripped(r)) == 0 })
	cell.Reconfigure(guarded(100 * time.Millisecond))
	r.Until("what trips stands there", func() bool { return slices.Equal(tripped(r), []string{"boiler"}) })
}
