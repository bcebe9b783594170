package mqttclientid_test

import (
	"strings"
	"testing"

	"gatewayd/actors/mqttclientid"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
	mqttv1 "gatewayd/schemas/mqtt/v1"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

func TestDuplicates(t *testing.T) {
	id := func(id, user string) *mqttv1.Login { return &mqttv1.Login{ClientId: id, Username: user} }
	all := []schemas.Actor{
		{Path: "uplinks/a", Kind: "uplink-mqtt", Config: &uplinkv1.UplinkMqtt{Url: "ssl://Broker:8883", Login: id("x", "")}},
		{Path: "uplinks/b", Kind: "uplink-mqtt", Config: &uplinkv1.UplinkMqtt{Url: "ssl://other:8883", Login: id("x", "")}},
		{Path: "uplinks/c", Kind: "mqtt-bridge", Config: &mqttv1.Bridge{Url: "mqtts://broker:8883", Login: id("x", "")}},
		{Path: "uplinks/d", Kind: "uplink-munic", Config: &uplinkv1.UplinkMunic{Url: "ssl://broker:8883", Login: id("x", "another")}},
		{Path: "uplinks/cloud", Kind: "uplink-mqtt", Config: &uplinkv1.UplinkMqtt{Url: "tcp://broker:1883"}},
		{Path: "bridges/cloud", Kind: "uplink-sparkplug", Config: &uplinkv1.UplinkSparkplug{Servers: []string{"tcp://first:1883", "tcp://broker:1883"}}},
		{Path: "uplinks/e", Kind: "uplink-tr50", Config: &uplinkv1.UplinkTr50{Url: "ssl://broker:8883", AppId: "y"}},
		{Path: "uplinks/f", Kind: "modbus-mqtt", Config: &modbusv1.ModbusMqtt{Url: "ssl://broker:8883", Login: id("y", "")}},
		{Path: "uplinks/g", Kind: "modbus-mqtt", Config: &modbusv1.ModbusMqtt{Login: id("y", "")}},
		{Path: "uplinks/h", Kind: "modbus-mqtt", Config: &modbusv1.ModbusMqtt{Login: id("y", "")}},
	}
	for kind, want := range map[string]string{
		"uplink-mqtt":      "",
		"mqtt-bridge":      `uplinks/c login.client-id: "uplinks/a" uses the client id "x" at broker:8883 as well`,
		"uplink-munic":     `uplinks/d login.client-id warning: "uplinks/a" uses`,
		"uplink-sparkplug": `bridges/cloud login.client-id: "uplinks/cloud" uses the client id "gatewayd-<gateway>-cloud" at broker:1883 as well`,
		"uplink-tr50":      "",
		"modbus-mqtt":      `uplinks/f login.client-id: "uplinks/e" uses the client id "y" at broker:8883 as well`,
	} {
		found := mqttclientid.Duplicates(kind, all)
		if want == "" {
			if len(found) > 0 {
				t.Errorf("%s: %v", kind, found)
			}
			continue
		}
		if len(found) != 1 {
			t.Errorf("%s: %v", kind, found)
			continue
		}
		f, warning := found[0], ""
		if f.Warning {
			warning = " warning"
		}
		if got := f.Actor + " " + f.Field + warning + ": " + f.Message; !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", kind, got)
		}
	}
}

// A conflict that is only possible is a warning.
func TestPerhapsTwice(t *testing.T) {
	at := func(path, url, id string) schemas.Actor {
		return schemas.Actor{Path: path, Kind: "mqtt-bridge", Config: &mqttv1.Bridge{Url: url, Login: &mqttv1.Login{ClientId: id}}}
	}
	for _, x := range []struct {
		a, b    schemas.Actor
		want    string // empty: nothing
		warning bool
	}{
		{at("u/a", "tcp://h:1883", "x"), at("u/b", "ssl://h:8883", "x"), `"u/a" uses the client id "x" at h:1883 as well: if that is the same broker as h:8883`, true},
		{at("u/a", "tcp://h:1883", "x"), at("u/b", "tcp://other:1883", "x"), "", false},
		{at("u/a", "tcp://h:1883", "x"), at("u/b", "tcp://h:1883", "y"), "", false},
		{at("u/cloud", "tcp://h:1883", ""), at("u/b", "tcp://h:1883", "gatewayd-site-7-cloud"), `if the gateway has the name site-7, "u/cloud" uses the client id "gatewayd-site-7-cloud" at h:1883`, true},
		{at("u/b", "tcp://h:1883", "gatewayd-site-7-cloud"), at("u/cloud", "tcp://h:1883", ""), `if the gateway has the name site-7, "u/b" uses the client id "gatewayd-site-7-cloud" at h:1883`, true},
		{at("u/b", "tcp://h:1883", "gatewayd-cloud"), at("u/cloud", "tcp://h:1883", ""), "", false},
		{at("u/b", "tcp://h:1883", ""), at("u/cloud", "tcp://h:1883", ""), "", false},
		{at("u/a", "tcp://[::1]:1883", "x"), at("u/b", "tcp://[::1]:1883", "x"), `"u/a" uses the client id "x" at [::1]:1883`, false},
	} {
		found := mqttclientid.Duplicates("mqtt-bridge", []schemas.Actor{x.a, x.b})
		if x.want == "" && len(found) == 0 {
			continue
		}
		if len(found) != 1 || x.want == "" || !strings.HasPrefix(found[0].Message, x.want) || found[0].Warning != x.warning || found[0].Actor != x.b.Path {
			t.Errorf("%s and %s: %v", x.a.Path, x.b.Path, found)
		}
	}
}
