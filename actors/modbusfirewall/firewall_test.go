package modbusfirewall_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusfirewall"
	"gatewayd/actors/modbusunit"
	"gatewayd/actors/tcplink"
	"gatewayd/bus"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

func TestMain(m *testing.M) { actorstest.Main(m) }

const path = "field/firewall"

func rules() *modbusv1.Firewall {
	return &modbusv1.Firewall{DeadMan: guarded(time.Hour).DeadMan, SafeWrites: guarded(time.Hour).SafeWrites, Rules: []*modbusv1.FirewallRule{
		{Name: "monitor", Action: "allow", Functions: []string{"read"}},
		{Name: "setpoint", Action: "allow+verify", Callers: []string{"mqtt/boiler-*"}, Addresses: []string{"100-101"}, Values: []string{"200-800"}, Rate: "1 in 1h"},
		{Name: "on", Action: "allow", Functions: []string{"5", "15"}, Values: []string{"1"}},
		{Name: "bits", Action: "allow", Functions: []string{"22"}, Values: []string{"0-15"}, Times: []string{"sat,sun"}},
	}}
}

func TestManners(t *testing.T) {
	actorstest.Conform(t, modbusfirewall.Kind, rules(), modbusunit.Kind, tcplink.Kind)
}

func TestJudge(t *testing.T) {
	r := actorstest.New(t)
	r.Start(path, modbusfirewall.Kind, rules())
	saturday := timestamppb.New(time.Date(2026, 11, 28, 12, 0, 0, 0, time.Local))
	for _, x := range []struct {
		req  *modbusv1.JudgeRequest
		want string
	}{
		{&modbusv1.JudgeRequest{Caller: "a", Function: 3, Quantity: 10}, "allow monitor"},
		{&modbusv1.JudgeRequest{Caller: "mqtt/boiler-1", Function: 6, Address: 100, Values: []uint32{650}}, "allow+verify setpoint"},
		{&modbusv1.JudgeRequest{Caller: "mqtt/boiler-1", Function: 6, Address: 100, Values: []uint32{650}}, "allow+verify setpoint"}, // Judge does not count towards the rate
		{&modbusv1.JudgeRequest{Caller: "mqtt/boiler-1", Function: 16, Address: 100, Values: []uint32{650, 801}}, "deny "},
		{&modbusv1.JudgeRequest{Caller: "a", Function: 5, Address: 1, Values: []uint32{1}}, "allow on"},
		{&modbusv1.JudgeRequest{Caller: "a", Function: 15, Address: 1, Values: []uint32{1, 1, 0}}, "deny "},
		{&modbusv1.JudgeRequest{Caller: "a", Function: 22, Values: []uint32{15, 0}, Time: saturday}, "allow bits"},
		{&modbusv1.JudgeRequest{Caller: "a", Function: 22, Values: []uint32{16, 0}, Time: saturday}, "deny "},
		{&modbusv1.JudgeRequest{Caller: "a", Function: 17}, "allow monitor"},
	} {
		x.req.Unit = "field/boiler"
		got, err := actorstest.Call(r, path, "Judge", x.req, &modbusv1.JudgeResponse{})
		if err != nil || got.Action+" "+got.Rule != x.want {
			t.Errorf("%v: %v, %v, want %s", x.req, got, err, x.want)
		}
	}
	for _, req := range []*modbusv1.JudgeRequest{
		{Function: 6, Values: []uint32{65536}}, {Function: 16}, {Function: 23}, {Function: 22, Values: []uint32{1}},
		{Function: 3, Address: 65535, Quantity: 2},
	} {
		req.Caller, req.Unit = "a", "b"
		if _, err := actorstest.Call(r, path, "Judge", req, &modbusv1.JudgeResponse{}); err == nil || bus.AsError(err).Code != bus.InvalidArgument {
			t.Errorf("%v: %v", req, err)
		}
	}
}

func TestRulesThatCannotBe(t *testing.T) {
	for rate, want := range map[string]string{"0 in 1m": "to forbid it, use action deny", "1 in 1x": "not a duration", "2000 in 1m": "rate 2000"} {
		cfg := rules()
		cfg.Rules[1].Rate = rate
		r := actorstest.New(t).Once()
		r.Start(path, modbusfirewall.Kind, cfg)
		if f := actorstest.Next(t, r.Faults); f.Level != actors.LevelBroken || !strings.Contains(f.Error(), "rule setpoint: ") || !strings.Contains(f.Error(), want) {
			t.Errorf("%s: level %d, %v", rate, f.Level, f)
		}
	}
}
