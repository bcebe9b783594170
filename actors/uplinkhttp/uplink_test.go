package uplinkhttp_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/actorstest/uplinktest"
	"gatewayd/actors/uplinkhttp"
	"gatewayd/protocols/record"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

func TestMain(m *testing.M) { actorstest.Main(m) }

const path = "uplinks/cloud"

func TestManners(t *testing.T) {
	actorstest.Conform(t, uplinkhttp.Kind, &uplinkv1.UplinkHttp{Url: "http://127.0.0.1:9"})
}

// server records the posted bodies, and answers as the test says.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
	answer func(n int, body string) int // returns the status
}

func serve(t *testing.T) *server {
	s := &server{answer: func(int, string) int { return 200 }}
	n := 0
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		raw, err := io.ReadAll(q.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		n++
		status := s.answer(n, string(raw))
		if err == nil && status == 200 {
			s.bodies = append(s.bodies, string(raw))
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.bodies)
}

// sequences returns the sequences of all records received.
func (s *server) sequences(t *testing.T) (all []int) {
	for _, b := range s.all() {
		var records []struct{ Sequence int }
		if err := json.Unmarshal([]byte(b), &records); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		for _, r := range records {
			all = append(all, r.Sequence)
		}
	}
	return all
}

// write stores n records of a track, beginning with sequence first.
func write(t *testing.T, r *actorstest.Rig, first, n uint64) {
	t.Helper()
	uplinktest.Keep(t, r, record.Chunk{Track: "tracks/energy", Number: 1, First: first, Count: n, Boot: "b"}, func(uint64) []record.Field {
		return []record.Field{{Name: "power", ID: 1, Unit: "kW", Value: 1.5}, {Name: "on", ID: 2, Value: true}}
	})
}

func sending() *uplinkv1.Sending {
	return &uplinkv1.Sending{Flush: durationpb.New(0), MaxBackoff: durationpb.New(time.Millisecond)}
}

func TestShapes(t *testing.T) {
	for shape, want := range map[string]string{
		"json":          `[{"gateway":"test","track":"tracks/energy","sequence":1,"time":"2027-01-15T08:00:00.000000001Z","fields":{"power":1.5,"on":true}}]`,
		"webhook":       `{"id":"test/tracks/energy/1","gateway":"test","track":"tracks/energy","sequence":1,"time":"2027-01-15T08:00:00.000000001Z","fields":{"power":1.5,"on":true}}`,
		"influx":        "energy,gateway=test,track=tracks/energy power=1.5,on=true 1800000000000000001\n",
		"otlp-json":     `"name":"power","unit":"kW","gauge":{"dataPoints":[{"attributes":[{"key":"track","value":{"stringValue":"tracks/energy"}}],"timeUnixNano":"1800000000000000001","asDouble":1.5}]}`,
		"otlp-protobuf": "gatewayd",
		"custom":        "1 power=1.5;on=true",
	} {
		t.Run(shape, func(t *testing.T) {
			r, far := actorstest.New(t), serve(t)
			cfg := &uplinkv1.UplinkHttp{Url: far.URL, Shape: shape, Send: sending()}
			if shape == "custom" {
				cfg.Custom = &uplinkv1.Shape{Record: "${sequence} ${fields}", Field: "${name:text}=${value}", BetweenFields: ";", ContentType: "text/plain"}
			}
			r.Start(path, uplinkhttp.Kind, cfg)
			write(t, r, 1, 1)
			r.Until("it is there", func() bool { return len(far.all()) == 1 })
			if got := far.all()[0]; got != want && !(strings.HasPrefix(shape, "otlp") && strings.Contains(got, want)) {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

// A web service that refuses records, fails and closes connections gets each record once, except
// the one that it never accepts.
func TestAServiceThatRefusesAndStumbles(t *testing.T) {
	r, far := actorstest.New(t), serve(t)
	rejected := actorstest.Watch(r, "event/"+path+"/rejected", &uplinkv1.Rejected{})
	far.answer = func(n int, body string) int {
		switch {
		case strings.Contains(body, `"sequence":77,`):
			return 400
		case n%3 == 0:
			return 503
		case n%7 == 0:
			far.CloseClientConnections()
			return 500
		}
		return 200
	}
	cfg := &uplinkv1.UplinkHttp{Url: far.URL, Send: sending()}
	cfg.Send.BatchRecords = 30
	cell := r.Start(path, uplinkhttp.Kind, cfg)
	write(t, r, 1, 150)
	write(t, r, 151, 50)
	r.Until("all but one are there", func() bool { return len(far.sequences(t)) == 199 })
	if m := actorstest.Next(t, rejected); m.Record != "tracks/energy 77" || !strings.Contains(m.Why, "400") {
		t.Errorf("%v", m)
	}
	got := far.sequences(t)
	for i, s := range got {
		if want := i + 1; s != want && s != want+1 {
			t.Fatalf("%v", got)
		}
	}
	r.Until("it works", func() bool { return cell.State() == actors.OK })
	if cell.Life() != 1 {
		t.Errorf("life %d", cell.Life())
	}
}

func TestWrongConfigs(t *testing.T) {
	for says, cfg := range map[string]*uplinkv1.UplinkHttp{
		"needs the table custom":        {Url: "http://a", Shape: "custom"},
		`custom needs shape = "custom"`: {Url: "http://a", Custom: &uplinkv1.Shape{Record: "x"}},
		"${nonsense} is not one of":     {Url: "http://a", Shape: "custom", Custom: &uplinkv1.Shape{Record: "${nonsense}"}},
		"rule 1: rename":                {Url: "http://a", Send: &uplinkv1.Sending{Rules: []*uplinkv1.Rule{{Rename: "b"}}}},
		"not a time span":               {Url: "http://a", Send: &uplinkv1.Sending{Quiet: []string{"8"}}},
		"tracks: ":                      {Url: "http://a", Send: &uplinkv1.Sending{Tracks: []string{"#/a"}}},
	} {
		all := uplinkhttp.Kind.Check(cfg)
		if text := fmt.Sprint(all); len(all) == 0 || !strings.Contains(text, says) {
			t.Errorf("%s, want %q", text, says)
		}
	}
}

// A record that a form cannot express is not sent, and proves nothing: neither that a service which
// refuses everything refuses single records, nor that a service which is down would be up except
// for one of them.
func TestWhatHasNothingToSendShowsNothing(t *testing.T) {
	for _, shape := range []string{"influx", "otlp-json", "otlp-protobuf"} {
		for _, trouble := range []int{400, 0} {
			t.Run(fmt.Sprint(shape, " ", trouble), func(t *testing.T) {
				r, far := actorstest.New(t), serve(t)
				const enough = 70 // far fewer are needed before a record is blamed
				far.answer = func(n int, _ string) int {
					switch {
					case n > enough:
						return 200
					case trouble == 0:
						panic(http.ErrAbortHandler) // closes the connection
					}
					return trouble
				}
				cfg := &uplinkv1.UplinkHttp{Url: far.URL, Shape: shape, Send: sending()}
				for n := range uint64(10) {
					uplinktest.Keep(t, r, record.Chunk{Track: "tracks/energy", Number: 1, First: n + 1, Count: 1, Boot: "b"}, func(uint64) []record.Field {
						power := record.Field{Name: "power", ID: 1, Quality: "stale"}
						if n%2 == 1 {
							power = record.Field{Name: "power", ID: 1, Value: float64(n)}
						}
						return []record.Field{power}
					})
				}
				r.Start(path, uplinkhttp.Kind, cfg)
				r.Until("all is settled", func() bool {
					s := uplinktest.Status(t, r, path)
					return s.Begun && s.Backlog.Records == 0
				})
				if s := uplinktest.Status(t, r, path); s.Counts.Rejected != 0 || s.Counts.Acknowledged != 5 || s.Counts.LeftOut != 5 {
					t.Error(s.Counts)
				}
			})
		}
	}
}
