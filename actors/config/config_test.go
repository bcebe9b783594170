package config_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/config"
	"gatewayd/bus"
	configv1 "gatewayd/schemas/config/v1"
)

func TestConforms(t *testing.T) {
	actorstest.Conform(t, config.Kind, &configv1.Config{})
}

var (
	changes  = []*configv1.Change{{Path: "field/line", Action: "start"}}
	problems = []*configv1.Problem{{File: "plant.toml", Line: 3, Key: "field.line.buad", Message: "unknown key"}}
)

// root answers as the root of a tree does; the text "bad" has problems.
func root(msg any) any {
	switch m := msg.(type) {
	case *configv1.GetRequest:
		return &configv1.GetResponse{Toml: "gateway = \"demo\"", Version: 6}
	case *configv1.CheckRequest:
		return &configv1.CheckResponse{Problems: problems}
	case *configv1.HistoryRequest:
		return &configv1.HistoryResponse{Versions: []*configv1.Version{{Version: 6}}}
	case *configv1.ApplyRequest:
		if m.Toml == "bad" {
			return &configv1.ApplyResponse{Problems: problems}
		}
		return &configv1.ApplyResponse{Version: 7, Changes: changes}
	case *configv1.ReloadRequest:
		return &configv1.ReloadResponse{Version: 8, Changes: changes}
	case *configv1.RollbackRequest:
		if m.Version == 99 {
			return bus.Errorf(bus.NotFound, "the history has no version of this number")
		}
		return &configv1.RollbackResponse{Version: 9, Changes: changes}
	}
	return nil
}

func TestAsksRoot(t *testing.T) {
	r := actorstest.New(t)
	r.Peer("root", root)
	applied := actorstest.Watch(r, "event/config/applied", &configv1.Applied{})
	rejected := actorstest.Watch(r, "event/config/rejected", &configv1.Rejected{})
	cell := r.Start("config", config.Kind, &configv1.Config{})
	r.Until("ok", func() bool { return cell.State() == actors.OK })
	for _, tt := range []struct {
		method    string
		req, want proto.Message
		applied   uint64 // version in the event; 0: no event
		rejected  bool
	}{
		{method: "Get", req: &configv1.GetRequest{}, want: &configv1.GetResponse{Toml: "gateway = \"demo\"", Version: 6}},
		{method: "Check", req: &configv1.CheckRequest{Toml: "bad"}, want: &configv1.CheckResponse{Problems: problems}},
		{method: "History", req: &configv1.HistoryRequest{}, want: &configv1.HistoryResponse{Versions: []*configv1.Version{{Version: 6}}}},
		{method: "Apply", req: &configv1.ApplyRequest{Toml: "good"}, want: &configv1.ApplyResponse{Version: 7, Changes: changes}, applied: 7},
		{method: "Apply", req: &configv1.ApplyRequest{Toml: "bad"}, want: &configv1.ApplyResponse{Problems: problems}, rejected: true},
		{method: "Reload", req: &configv1.ReloadRequest{}, want: &configv1.ReloadResponse{Version: 8, Changes: changes}, applied: 8},
		{method: "Rollback", req: &configv1.RollbackRequest{}, want: &configv1.RollbackResponse{Version: 9, Changes: changes}, applied: 9},
	} {
		got, err := actorstest.Call(r, "config", tt.method, tt.req, tt.want.ProtoReflect().New().Interface())
		if err != nil || !proto.Equal(got, tt.want) {
			t.Errorf("%s: %v, %v", tt.method, got, err)
		}
		if tt.applied > 0 {
			if e := actorstest.Next(t, applied); e.Version != tt.applied || len(e.Changes) != 1 {
				t.Errorf("%s: event %v", tt.method, e)
			}
		}
		if tt.rejected {
			if e := actorstest.Next(t, rejected); len(e.Problems) != 1 || e.Problems[0].Line != 3 {
				t.Errorf("%s: event %v", tt.method, e)
			}
		}
	}
	if len(applied)+len(rejected) > 0 {
		t.Error("events for what changed nothing")
	}
}

func TestPassesErrorsOn(t *testing.T) {
	r := actorstest.New(t)
	r.Peer("root", root)
	r.Start("config", config.Kind, &configv1.Config{})
	_, err := actorstest.Call(r, "config", "Rollback", &configv1.RollbackRequest{Version: 99}, &configv1.RollbackResponse{})
	if err == nil || bus.AsError(err).Code != bus.NotFound {
		t.Errorf("answered %v", err)
	}
}

// TestWhatIsNotOnDiskIsDegraded until the root has written it.
func TestWhatIsNotOnDiskIsDegraded(t *testing.T) {
	r := actorstest.New(t)
	var room atomic.Bool
	r.Peer("root", func(msg any) any {
		unkept := "no space left on device"
		if room.Load() {
			unkept = ""
		}
		switch msg.(type) {
		case *configv1.ApplyRequest:
			return &configv1.ApplyResponse{Version: 7, Unkept: unkept}
		case *configv1.KeepRequest:
			return &configv1.KeepResponse{Unkept: unkept}
		}
		return nil
	})
	cell := r.Start("config", config.Kind, &configv1.Config{})
	r.Until("degraded from the start", func() bool { return cell.State() == actors.Degraded })
	room.Store(true)
	if _, err := actorstest.Call(r, "config", "Keep", &configv1.KeepRequest{}, &configv1.KeepResponse{}); err != nil {
		t.Fatal(err)
	}
	r.Until("ok", func() bool { return cell.State() == actors.OK })
	room.Store(false)
	got, err := actorstest.Call(r, "config", "Apply", &configv1.ApplyRequest{Toml: "good"}, &configv1.ApplyResponse{})
	if err != nil || got.Unkept == "" {
		t.Fatal(got, err)
	}
	r.Until("degraded", func() bool {
		return cell.State() == actors.Degraded && strings.Contains(cell.Health().Cause, "no space left")
	})
	room.Store(true)
	r.Until("ok by itself", func() bool { return cell.State() == actors.OK })
}
