package uplinktr50_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors/actorstest"
	"gatewayd/actors/uplinktr50"
	"gatewayd/bus"
	"gatewayd/protocols/record"
	"gatewayd/protocols/tr50/tr50test"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

func TestMain(m *testing.M) { actorstest.Main(m) }

const path = "uplinks/cloud"

func TestConforms(t *testing.T) {
	actorstest.Conform(t, uplinktr50.Kind, &uplinkv1.UplinkTr50{Url: "tcp://127.0.0.1:1", ThingKey: "gw", Token: "t"})
}

// mosquitto starts a broker and returns its URL.
func mosquitto(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil {
			t.Fatal("mosquitto is missing: apt-get install -y mosquitto")
		}
	}
	port := 10_000 + rand.IntN(20_000) // below those of outgoing connections
	conf := filepath.Join(t.TempDir(), "conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "listener %d 127.0.0.1\nallow_anonymous true\n", port), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(program, "-c", conf)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	address := fmt.Sprintf("127.0.0.1:%d", port)
	for until := time.Now().Add(time.Minute); time.Now().Before(until); {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return "tcp://" + address
		}
	}
	t.Fatal("mosquitto does not listen")
	return ""
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
		Send: &uplinkv1.Sending{Flush: durationpb.New(0), Retry: durationpb.New(10 * time.Millisecond)},
	}
}

// write stores a chunk of so many records of one track.
func write(t *testing.T, r *actorstest.Rig, track string, n int) {
	t.Helper()
	c := record.Chunk{Track: track, Number: 1, First: 1, Count: uint64(n), Boot: "boot"}
	for i := range n {
		c.Records = append(c.Records, record.Record{
			Track: track, Number: 1, Sequence: uint64(i + 1), Time: time.Unix(1_800_000_000+int64(i), 0), Trusted: true, Boot: "boot",
			Fields: []record.Field{{Name: "power", ID: 1, Unit: "kW", Value: float64(i + 1)}, {Name: "mode", ID: 2, Value: fmt.Sprint("m", i+1)}},
		})
	}
	p, err := record.Encode(&c)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	r.Bus.Keep(bus.Subject(actorstest.Gateway, bus.Track, track, "records"), record.ChunkType, p, bus.Normal, func(_ uint64, err error) { done <- err })
	if err := actorstest.Next(t, done); err != nil {
		t.Fatal(err)
	}
}

func TestRecordsArriveAndABadOneIsPassedOver(t *testing.T) {
	url := mosquitto(t)
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
	url := mosquitto(t)
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
