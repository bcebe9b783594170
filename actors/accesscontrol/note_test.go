package accesscontrol_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gatewayd/actors"
	"gatewayd/actors/accesscontrol"
	"gatewayd/actors/actorstest"
	accessv1 "gatewayd/schemas/access/v1"
)

// onDisk returns the revocations stored on disk.
func onDisk(r *actorstest.Rig) []string {
	var m accessv1.Revocations
	if !r.Noted(path, "revoked", &m) {
		return []string{"?"}
	}
	return m.Identities
}

func revoke(r *actorstest.Rig, name string) error {
	_, err := actorstest.Call(r, path, "Revoke", &accessv1.RevokeRequest{Identity: name}, &accessv1.RevokeResponse{})
	return err
}

// stands returns why the identity may not use its topic; empty if it may.
func stands(r *actorstest.Rig, name string) string {
	m, err := actorstest.Call(r, path, "May", &accessv1.MayRequest{Identity: name, Topic: "data/x/y"}, &accessv1.MayResponse{})
	if err != nil {
		return err.Error()
	}
	return m.Why
}

// A revocation that the disk does not accept is in force and reported, also in the tree, and is
// written when the disk works again.
func TestRevokedWhileTheDiskFails(t *testing.T) {
	r := actorstest.New(t)
	cell := r.Start(path, accesscontrol.Kind, config())
	r.Until("who is revoked is known", func() bool { return stands(r, "anna") == "" })
	back := r.LoseDisk()
	if err := revoke(r, "anna"); err == nil || !strings.Contains(err.Error(), "the change is in force but not saved, and would be lost at a restart of the gateway") {
		t.Errorf("revoked: %v", err)
	}
	if why := stands(r, "anna"); !strings.Contains(why, "revoked") {
		t.Errorf("anna: %s", why)
	}
	if h := cell.Health(); h.State != actors.Degraded || !strings.Contains(h.Cause, "not saved") {
		t.Errorf("the keeper is %v", h)
	}
	back()
	r.Until("it is on disk", func() bool { return slices.Equal(onDisk(r), []string{"anna"}) && cell.State() == actors.OK })
}

// An identity may be revoked while the earlier revocations are unknown: both are in force once the
// disk can be read.
func TestRevokedBeforeTheDiskTells(t *testing.T) {
	r := actorstest.New(t)
	r.Note(path, "revoked", &accessv1.Revocations{Identities: []string{"past"}})
	back := r.LoseDisk()
	cell := r.Start(path, accesscontrol.Kind, config())
	r.Until("there is a policy", func() bool { return stands(r, "anna") == "" })
	if h := cell.Health(); h.State != actors.Degraded || !strings.Contains(h.Cause, "the identities revoked before this start are unknown") {
		t.Errorf("the keeper is %v", h)
	}
	if err := revoke(r, "anna"); err == nil {
		t.Error("that it is not on disk is not told")
	}
	back()
	r.Until("both are on disk", func() bool { return slices.Equal(onDisk(r), []string{"past", "anna"}) && cell.State() == actors.OK })
	if why := stands(r, "past"); !strings.Contains(why, "revoked") {
		t.Errorf("past: %s", why)
	}
}

// If the stored revocations are damaged, this is reported, and later revocations are stored.
func TestANoteThatIsDamaged(t *testing.T) {
	r := actorstest.New(t)
	r.Note(path, "revoked", &accessv1.Revocations{Identities: []string{"anna"}})
	file := filepath.Join(r.System.Dir, path, "revoked.json")
	if err := os.Truncate(file, 20); err != nil {
		t.Fatal(err)
	}
	cell := r.Start(path, accesscontrol.Kind, config())
	r.Until("it is told", func() bool {
		return cell.State() == actors.Degraded && strings.Contains(cell.Health().Cause, "the identities revoked before this start are unknown: "+file+".damaged")
	})
	if err := revoke(r, "past"); err != nil {
		t.Error(err)
	}
	if !slices.Equal(onDisk(r), []string{"past"}) || cell.State() != actors.Degraded {
		t.Errorf("%v on disk, the keeper is %s", onDisk(r), cell.State())
	}
}

// A revocation made while the disk could not be read is stored even if the note turns out to be
// damaged.
func TestANoteThatTurnsOutToBeDamaged(t *testing.T) {
	r := actorstest.New(t)
	r.Note(path, "revoked", &accessv1.Revocations{Identities: []string{"past"}})
	if err := os.Truncate(filepath.Join(r.System.Dir, path, "revoked.json"), 20); err != nil {
		t.Fatal(err)
	}
	back := r.LoseDisk()
	r.Start(path, accesscontrol.Kind, config())
	r.Until("there is a policy", func() bool { return stands(r, "anna") == "" })
	if err := revoke(r, "anna"); err == nil {
		t.Error("that it is not on disk is not told")
	}
	back()
	r.Until("it is on disk", func() bool { return slices.Equal(onDisk(r), []string{"anna"}) })
}

// An identity revoked while the disk cannot be read, and revoked before according to the disk, is
// stored.
func TestRevokedAgainBeforeTheDiskTells(t *testing.T) {
	r := actorstest.New(t)
	r.Note(path, "revoked", &accessv1.Revocations{Identities: []string{"anna"}})
	back := r.LoseDisk()
	cell := r.Start(path, accesscontrol.Kind, config())
	r.Until("there is a policy", func() bool { return stands(r, "anna") == "" })
	if err := revoke(r, "anna"); err == nil {
		t.Error("that it is not on disk is not told")
	}
	back()
	r.Until("all is well", func() bool { return cell.State() == actors.OK })
}
