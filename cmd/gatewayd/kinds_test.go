package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/protocols/freeport"
	modbusv1 "gatewayd/schemas/modbus/v1"
	mqttv1 "gatewayd/schemas/mqtt/v1"
	trackv1 "gatewayd/schemas/track/v1"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// Every kind in the list conforms to the rules for kinds, with a config that starts without
// hardware. Where that start fails, it must fail in order.
func TestKindsConform(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.Name, func(t *testing.T) {
			actorstest.Conform(t, k, bare(t, k), kinds...)
		})
	}
}

// bare returns the least config the kind accepts, with names of things that do not exist.
func bare(t *testing.T, k actors.Kind) proto.Message {
	t.Helper()
	switch m := k.ConfigType().New().Interface().(type) {
	case *mqttv1.Broker:
		m.Listen = freeport.Address(t)
		return m
	case *mqttv1.Bridge:
		m.Url = "tcp://" + freeport.Address(t)
		return m
	case *mqttv1.Device:
		m.Broker = "edge/broker"
		m.Points = []*mqttv1.DevicePoint{{Name: "a", Topic: "a"}}
		return m
	case *modbusv1.SerialLine:
		m.Port = filepath.Join(t.TempDir(), "tty")
		return m
	case *modbusv1.DtuListener:
		m.Listen = freeport.Address(t)
		return m
	case *modbusv1.DtuLink:
		m.Listener, m.Registration = "field/dtus", "1"
		return m
	case *modbusv1.TcpLink:
		m.Address = "127.0.0.1:9"
		return m
	case *uplinkv1.UplinkHttp:
		m.Url = "http://127.0.0.1:9"
		return m
	case *uplinkv1.UplinkNats:
		m.Urls = []string{"nats://127.0.0.1:9"}
		return m
	case *uplinkv1.UplinkSparkplug:
		m.Servers, m.Group = []string{"tcp://127.0.0.1:9"}, "g"
		return m
	case *uplinkv1.UplinkMqtt:
		m.Url = "tcp://127.0.0.1:9"
		return m
	case *uplinkv1.UplinkMdi:
		m.Url = "tcp://127.0.0.1:9"
		return m
	case *uplinkv1.UplinkTr50:
		m.Url, m.ThingKey, m.Token = "tcp://127.0.0.1:9", "gw", "token"
		return m
	case *uplinkv1.UplinkMunic:
		m.Url, m.Account, m.Asset = "tcp://127.0.0.1:9", "a", "b"
		return m
	case *modbusv1.Unit:
		m.Link, m.Unit = "field/line", 1
		return m
	case *trackv1.Track:
		m.Number, m.Fields = 1, []*trackv1.Field{{From: "field/+/power"}}
		return m
	default:
		return m
	}
}

// shared are the folders of actors that are not kinds.
var shared = []string{"accessdoor", "actorstest", "modbusdoor", "modbuslink", "mqttdoor", "mqttclientid", "uplink"}

// The list is sorted, has no duplicates, and contains every other folder of actors.
func TestKindsAreListed(t *testing.T) {
	var names, folders []string
	for _, k := range kinds {
		if r, _ := utf8.DecodeRuneInString(k.Doc); !unicode.IsUpper(r) || !strings.HasSuffix(k.Doc, ".") {
			t.Errorf("%s: what it is for is no sentence: %q", k.Name, k.Doc)
		}
		names = append(names, k.Name)
		folders = append(folders, strings.ReplaceAll(k.Name, "-", ""))
	}
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("kinds are not sorted, or one is defined twice: %v", names)
	}
	entries, err := os.ReadDir(filepath.Join("..", "..", "actors"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !slices.Contains(shared, e.Name()) && !slices.Contains(folders, e.Name()) {
			t.Errorf("actors/%s is not in kinds.go", e.Name())
		}
	}
}
