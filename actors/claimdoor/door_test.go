package claimdoor_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors/actorstest"
	"gatewayd/actors/claimdoor"
	"gatewayd/protocols/claim"
	accessv1 "gatewayd/schemas/access/v1"
)

func TestMain(m *testing.M) { actorstest.Main(m) }

// start starts a claim-door.
func start(t *testing.T, cfg *accessv1.ClaimDoor) *actorstest.Rig {
	t.Helper()
	r := actorstest.New(t)
	cell := r.Start("claim", claimdoor.Kind, cfg)
	r.Until("it is well", func() bool { return cell.State() == "ok" })
	return r
}

func config(lasts time.Duration) *accessv1.ClaimDoor {
	return &accessv1.ClaimDoor{Listen: "127.0.0.1:0", CodeLifetime: durationpb.New(lasts)}
}

func TestConforms(t *testing.T) { actorstest.Conform(t, claimdoor.Kind, config(time.Hour)) }

// The warning changes from "unclaimed" to "expired", and the listener is closed; a new life issues
// a new code.
func TestCodesExpire(t *testing.T) {
	r := start(t, config(50*time.Millisecond))
	cell := r.System.Lookup("claim")
	r.Until("the code has expired", func() bool { return strings.Contains(cell.Health().Cause, "expired") })
}

func TestClaimedIsShut(t *testing.T) {
	cfg := config(time.Hour)
	cfg.Claimed = true
	if cause := start(t, cfg).System.Lookup("claim").Health().Cause; cause != "" {
		t.Errorf("it says %q", cause)
	}
}

// Wrong codes are reported by events.
func TestRefusalsAreTold(t *testing.T) {
	r := actorstest.New(t)
	heard := actorstest.Watch(r, "event/claim/refused", &accessv1.Refused{})
	cfg := config(time.Hour)
	cfg.Listen = "127.0.0.1:0"
	cell := r.Start("claim", claimdoor.Kind, cfg)
	r.Until("it is well", func() bool { return cell.State() == "ok" })
	_, addr, _ := strings.Cut(cell.Health().Cause, "the gateway at ")
	err := claim.Claim(t.Context(), addr, claim.NewCode(), claim.Request{Operator: "eve", Time: time.Now()}, func(claim.Response) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "wrong code") {
		t.Fatal(err)
	}
	if m := actorstest.Next(t, heard); m.Reason != "credentials" || !strings.Contains(m.Cause, "wrong code") {
		t.Error(m)
	}
}
