package uplinktr50_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors/actorstest"
	"gatewayd/actors/actorstest/uplinktest"
	"gatewayd/actors/uplinktr50"
	"gatewayd/protocols/mqttclient/mosquitto"
	"gatewayd/protocols/record"
	"gatewayd/protocols/tr50/tr50test"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

func TestMain(m *testing.M) { actorstest.Main(m) }

const path = "uplinks/cloud"

func TestConforms(t *testing.T) {
	actorstest.Conform(t, uplinktr50.Kind, &uplinkv1.UplinkTr50{Url: "tcp://127.0.0.1:1", ThingKey: "gw", Token: "t"})
}

func server(t *testing.T, url string) *tr50test.Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := tr50test.New(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func config(url string) *uplinkv1.UplinkTr50 {
	return &uplinkv1.UplinkTr50{
		Url: url, ThingKey: "gw", Token: "t", Key: "${track}.${field}",
		Send: &uplinkv1.Sending{Flush: durationpb.New(0), MaxBackoff: durationpb.New(10 * time.Millisecond)},
	}
}

// write stores a chunk of n records of one track.
func write(t *testing.T, r *actorstest.Rig, track string, n uint64) {
	t.Helper()
	uplinktest.Keep(t, r, record.Chunk{Track: track, Number: 1, First: 1, Count: n, Boot: "boot"}, func(s uint64) []record.Field {
		return []record.Field{{Name: "power", ID: 1, Unit: "kW", Value: float64(s)}, {Name: "mode", ID: 2, Value: fmt.Sprint("m", s)}}
	})
}

func TestRecordsArriveAndABadOneIsPassedOver(t *testing.T) {
	url := "tcp://" + mosquitto.Run(t)
	s := server(t, url)
	s.Refuse(func(p tr50test.Published) string {
		if p.Params["value"] == 7.0 {
			return "out of range"
		}
		return ""
	})
	r := actorstest.New(t)
	rejected := actorstest.Watch(r, "event/"+path+"/rejected", &uplinkv1.Rejected{})
	write(t, r, "tracks/a", 50)
	r.Start(path, uplinktr50.Kind, config(url))
	if got := actorstest.Next(t, rejected); got.Record != "tracks/a 7" || !strings.Contains(got.Why, "a.power: out of range") {
		t.Errorf("%v", got)
	}
	r.Until("the others are there", func() bool {
		there := map[string]bool{}
		for _, p := range s.Got() {
			there[p.String()] = true
		}
		return len(there) == 99
	})
	r.Until("nothing is left", func() bool {
		m, err := actorstest.Call(r, path, "Status", &uplinkv1.StatusRequest{}, &uplinkv1.StatusResponse{})
		return err == nil && m.Status.Backlog.Records == 0 && m.Status.Counts.Rejected == 1 && m.Status.Counts.Acknowledged == 49
	})
}

// Methods from the mailbox reach what the config lists, and nothing else.
func TestMailbox(t *testing.T) {
	url := "tcp://" + mosquitto.Run(t)
	s := server(t, url)
	_ = s.Exec("1", "gw", "how-are-you", nil, true)
	_ = s.Exec("2", "gw", path+"/Restart", nil, true)
	r := actorstest.New(t)
	cfg := config(url)
	cfg.Commands = &uplinkv1.Commands{Allow: []string{"cmd/" + path + "/Status"}, Timeout: durationpb.New(10 * time.Second)}
	cfg.Methods = []*uplinkv1.Tr50Method{{Name: "how-are-you", Call: "cmd/" + path + "/Status"}}
	r.Start(path, uplinktr50.Kind, cfg)
	r.Until("both are settled", func() bool { _, one := s.Acked("1"); _, two := s.Acked("2"); return one && two })
	if a, _ := s.Acked("1"); a.ErrorCode != 0 || !strings.Contains(string(a.Params), `"status"`) {
		t.Errorf("%+v", a)
	}
	if a, _ := s.Acked("2"); a.ErrorCode != 4 || !strings.Contains(a.ErrorMessage, "not among the commands") {
		t.Errorf("%+v", a)
	}
}
