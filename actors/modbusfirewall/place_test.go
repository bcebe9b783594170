package modbusfirewall_test

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors/modbusfirewall"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// The config check reports each way to the units of a dead-man group that bypasses the firewall.
func TestWaysPastTheFirewall(t *testing.T) {
	const pump, link = "field/plc/pump", "field/plc/link"
	unit := func(wall string) schemas.Actor {
		return schemas.Actor{Path: pump, Config: &modbusv1.Unit{Link: link, Unit: 9, Firewall: wall}}
	}
	gateway := func(wall string, routes ...*modbusv1.Route) schemas.Actor {
		return schemas.Actor{Path: "shared", Config: &modbusv1.Gateway{Firewall: wall, Routes: routes}}
	}
	straight := func(m *modbusv1.Route) *modbusv1.Route { m.Link = link; return m }
	byName, byPlace := &modbusv1.SafeWrite{Unit: pump}, &modbusv1.SafeWrite{Link: link, At: proto.Uint32(9)}
	const (
		calls  = "calls to field/plc/pump bypass this firewall, even after a trip"
		byUnit = "masters of shared reach field/plc/pump without this firewall, even after a trip"
		byLink = "masters of shared reach field/plc/link/9 without this firewall, even after a trip"
	)
	for _, c := range []struct {
		name  string
		write *modbusv1.SafeWrite
		all   []schemas.Actor
		want  []string
	}{
		{"none", byName, []schemas.Actor{unit(path), gateway(path, straight(&modbusv1.Route{First: 9}))}, nil},
		{"calls", byName, []schemas.Actor{unit("")}, []string{calls}},
		{"calls, by another firewall", byName, []schemas.Actor{unit("other")}, []string{calls}},
		{"masters", byName, []schemas.Actor{unit(path), gateway("", straight(&modbusv1.Route{First: 9}))}, []string{byUnit}},
		{"masters, of a unit without an actor", byPlace, []schemas.Actor{gateway("", straight(&modbusv1.Route{First: 9}))}, []string{byLink}},
		{"both", byName, []schemas.Actor{unit(""), gateway("other", straight(&modbusv1.Route{First: 9}))}, []string{calls, byUnit}},
		{"masters of a range", byName, []schemas.Actor{unit(path), gateway("", straight(&modbusv1.Route{First: 1, Last: proto.Uint32(9)}))}, []string{byUnit}},
		{"masters of a range before it", byName, []schemas.Actor{unit(path), gateway("", straight(&modbusv1.Route{First: 1, Last: proto.Uint32(8)}))}, nil},
		{"masters who call it otherwise", byName, []schemas.Actor{unit(path), gateway("", straight(&modbusv1.Route{First: 100, Last: proto.Uint32(110), Unit: proto.Uint32(1)}))}, []string{byUnit}},
		{"masters who mean another by its address", byName, []schemas.Actor{unit(path), gateway("", straight(&modbusv1.Route{First: 9, Unit: proto.Uint32(1)}))}, nil},
		{"masters of another link", byName, []schemas.Actor{unit(path), gateway("", &modbusv1.Route{First: 9, Link: "field/other"})}, nil},
		{"masters who only read", byName, []schemas.Actor{unit(path), gateway("", straight(&modbusv1.Route{First: 9, Mode: "read-only"}))}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			wall := schemas.Actor{Path: path, Config: &modbusv1.Firewall{SafeWrites: []*modbusv1.SafeWrite{c.write}}}
			var got []string
			for _, f := range modbusfirewall.Kind.Beside(append(c.all, wall)) {
				if got = append(got, f.Message); !f.Warning || f.Actor != path || f.Field != "safe-writes[0]" || f.Other != "firewall" || f.Beside == "" {
					t.Errorf("%+v", f)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("finds %q, want %q", got, c.want)
			}
		})
	}
}
