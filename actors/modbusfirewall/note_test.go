package modbusfirewall_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusfirewall"
	"gatewayd/bus"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// forgetful is a bus that cannot read notes for a while.
type forgetful struct {
	*bus.Conn
	failing *atomic.Bool
}

func (f forgetful) Noted(ctx context.Context, key string) ([]byte, error) {
	if f.failing.Load() {
		return nil, bus.Errorf(bus.Unavailable, "the store does not work")
	}
	return f.Conn.Noted(ctx, key)
}

const noteKey = path + ".dead-man"

// tripped is what stands on disk.
func tripped(r *actorstest.Rig) []string {
	var s modbusv1.DeadManState
	if p, err := r.Bus.Noted(context.Background(), noteKey); err != nil || proto.Unmarshal(p, &s) != nil {
		return []string{"?"}
	}
	slices.Sort(s.Tripped)
	return s.Tripped
}

func noteTripped(t *testing.T, r *actorstest.Rig, groups ...string) {
	t.Helper()
	p, err := proto.Marshal(&modbusv1.DeadManState{Tripped: groups})
	if err == nil {
		err = r.Bus.Note(t.Context(), noteKey, p)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A group that trips while nobody can read what had tripped before does not make that forgotten.
func TestATripWhileTheStoreFailsForgetsNoOther(t *testing.T) {
	var failing atomic.Bool
	r := actorstest.NewOver(t, func(b *bus.Conn) actors.Bus { return forgetful{b, &failing} })
	noteTripped(t, r, "pump")
	failing.Store(true)
	cell := r.Start(path, modbusfirewall.Kind, guarded(100*time.Millisecond))
	r.Until("the boiler has tripped", func() bool { return cell.State() == actors.Degraded })
	failing.Store(false)
	r.Until("both stand on disk", func() bool { return slices.Equal(tripped(r), []string{"boiler", "pump"}) })
}

// What had tripped and was taken out of the config does not trip when it comes again.
func TestAGroupThatHasGoneIsForgotten(t *testing.T) {
	r := actorstest.New(t)
	noteTripped(t, r, "boiler", "gone")
	cell := r.Start(path, modbusfirewall.Kind, guarded(time.Hour))
	r.Until("one is there no more", func() bool { return slices.Equal(tripped(r), []string{"boiler"}) })
	cell.Reconfigure(&modbusv1.Firewall{Otherwise: "allow"})
	r.Until("none is there any more", func() bool { return len(tripped(r)) == 0 })
}
