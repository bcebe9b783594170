package sparkplug_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/record"
	"gatewayd/protocols/sparkplug"
)

// A stage is a connected node that has published its births and record 1 of track a.
func stage(t *testing.T, host string) *sparkplug.Node {
	t.Helper()
	n, err := sparkplug.New(sparkplug.Config{Group: "g", Node: "n", Host: host, Plain: true}, -1)
	if err != nil {
		t.Fatal(err)
	}
	n.Connect(noon)
	n.Connected(noon)
	if host != "" {
		n.Host(sparkplug.StateTopic(host), []byte(`{"online":true,"timestamp":1}`), noon)
	}
	if _, err := n.Records([]record.Record{number(1, noon.Add(time.Second))}, noon.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	return n
}

func number(n uint64, at time.Time) record.Record {
	return record.Record{Track: "a", Sequence: n, Time: at, Fields: []record.Field{{Name: "f", Value: int64(n)}}}
}

// lines formats messages: verb, then metric=value of each metric, with a tick if it is historical.
func lines(t *testing.T, all []sparkplug.Message) []string {
	t.Helper()
	var out []string
	for _, m := range all {
		w, ok := sparkplug.ParseTopic(m.Topic)
		p, err := sparkplug.Parse(m.Payload)
		if !ok || err != nil {
			t.Fatal(m.Topic, err)
		}
		line := w.Verb
		for _, x := range p.Metrics {
			if x.Name == "bdSeq" || x.Name == sparkplug.Rebirth {
				continue
			}
			old := ""
			if x.Historical {
				old = "'"
			}
			line += fmt.Sprintf(" %s%s=%v", x.Name, old, x.Value)
		}
		out = append(out, line)
	}
	return out
}

func say(t *testing.T, n *sparkplug.Node, now time.Time, all ...record.Record) string {
	t.Helper()
	d, err := n.Records(all, now)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines(t, d.Send), "; ")
}

func TestScenes(t *testing.T) {
	at := func(s float64) time.Time { return noon.Add(time.Duration(s * float64(time.Second))) }
	for name, tt := range map[string]struct {
		do   func(t *testing.T, n *sparkplug.Node) string
		want string
	}{
		"a value": {func(t *testing.T, n *sparkplug.Node) string { return say(t, n, at(2), number(2, at(2))) }, "DDATA f=2"},
		"fresh ones before old ones: the old one is no news": {func(t *testing.T, n *sparkplug.Node) string {
			return say(t, n, at(5), number(3, at(5))) + " | " + say(t, n, at(5), number(2, at(4)))
		}, "DDATA f=3 | DDATA f'=2"},
		"what was kept is historical, then the newest becomes current": {func(t *testing.T, n *sparkplug.Node) string {
			n.Lost()
			n.Connect(at(60))
			births := lines(t, n.Connected(at(60)).Send)
			kept := say(t, n, at(60), number(2, at(20)), number(3, at(30)))
			return strings.Join(births, "; ") + " | " + kept + " | " + strings.Join(lines(t, n.Wake(at(62)).Send), "; ")
		}, "NBIRTH; DBIRTH f=1 | DDATA f'=2 f'=3 | DDATA f=3"},
		"what is current ends what was kept": {func(t *testing.T, n *sparkplug.Node) string {
			n.Lost()
			n.Connect(at(60))
			n.Connected(at(60))
			return say(t, n, at(61), number(2, at(20)), number(3, at(61)))
		}, "DDATA f'=2 f=3"},
		"the clock is set back": {func(t *testing.T, n *sparkplug.Node) string {
			return say(t, n, at(-3600), number(2, at(-3600)))
		}, "NBIRTH; DBIRTH f=1; DDATA f=2"},
		"a record from the future is not current": {func(t *testing.T, n *sparkplug.Node) string {
			return say(t, n, at(2), number(2, at(3600))) + " | " + say(t, n, at(3), number(3, at(3)))
		}, "DDATA f'=2; DDATA f=2 | DDATA f=3"},
		"a new metric is born first": {func(t *testing.T, n *sparkplug.Node) string {
			r := number(2, at(2))
			r.Fields = append(r.Fields, record.Field{Name: "g", Value: true})
			return say(t, n, at(2), r)
		}, "NBIRTH; DBIRTH g=<nil> f=1; DDATA f=2 g=true"},
		"an integer that turns out a fraction": {func(t *testing.T, n *sparkplug.Node) string {
			r := number(2, at(2))
			r.Fields[0].Value = 2.5
			return say(t, n, at(2), r) + " | " + say(t, n, at(3), number(3, at(3)))
		}, "NBIRTH; DBIRTH f=1; DDATA f=2.5 | DDATA f=3"},
		"names that differ in case": {func(t *testing.T, n *sparkplug.Node) string {
			r := number(2, at(2))
			r.Fields[0].Name = "F"
			return say(t, n, at(2), r)
		}, "NBIRTH; DBIRTH F~2=<nil> f=1; DDATA F~2=2"},
		"a device that goes and comes": {func(t *testing.T, n *sparkplug.Node) string {
			gone := record.Record{Track: "a", Sequence: 2, Time: at(2), Absent: true}
			return say(t, n, at(2), gone) + " | " + say(t, n, at(3), number(3, at(3)))
		}, "DDEATH | DBIRTH f=1; DDATA f=3"},
		"a storm of requests for births gets two, and no data in between": {func(t *testing.T, n *sparkplug.Node) string {
			p := sparkplug.Payload{Seq: sparkplug.NoSeq, Time: 1, Metrics: []sparkplug.Metric{{Name: sparkplug.Rebirth, Value: true}}}
			births := 0
			for i := range 1000 {
				d := n.Command(sparkplug.Topic("g", "NCMD", "n", ""), p.Append(nil), at(5+float64(i)/1000))
				births += len(d.Send)
			}
			_, err := n.Records([]record.Record{number(2, at(6))}, at(5.99))
			d := n.Wake(at(6))
			return fmt.Sprint(births, " ", errors.Is(err, sparkplug.ErrNotBorn), " ", lines(t, d.Send), " ", say(t, n, at(6), number(2, at(6))))
		}, "2 true [NBIRTH DBIRTH f=1] DDATA f=2"},
		"much at once goes in several messages": {func(t *testing.T, n *sparkplug.Node) string {
			var all []record.Record
			for i := range 4 {
				r := number(uint64(i+2), at(2))
				r.Fields = []record.Field{{Name: "text", Value: strings.Repeat("x", 20_000)}}
				all = append(all, r)
			}
			d, err := n.Records(all, at(2))
			var sizes []int
			for _, m := range d.Send[2:] {
				sizes = append(sizes, len(m.Payload)/20_000)
			}
			return fmt.Sprint(sizes, err)
		}, "[1 1 1 1] <nil>"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tt.do(t, stage(t, "")); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestPrimaryHost(t *testing.T) {
	host := func(n *sparkplug.Node, text string) sparkplug.Actions {
		return n.Host("spBv1.0/STATE/h", []byte(text), noon)
	}
	n := stage(t, "h")
	for _, ignored := range []string{`{"online":false,"timestamp":0}`, `OFFLINE`, `{"online":false}`, `{"timestamp":5}`} {
		if d := host(n, ignored); d.Leave != "" || len(d.Notes) != 1 {
			t.Errorf("%s: %+v", ignored, d)
		}
	}
	if d := n.Host("spBv1.0/STATE/other", []byte(`{"online":false,"timestamp":9}`), noon); !reflect.DeepEqual(d, sparkplug.Actions{}) {
		t.Errorf("another host: %+v", d)
	}
	d := host(n, `{"online":false,"timestamp":1}`)
	if got := lines(t, d.Send); d.Leave == "" || len(got) != 1 || got[0] != "NDEATH" || n.Born() {
		t.Errorf("%+v", d)
	}
	n.Connect(noon)
	n.Connected(noon)
	if n.Waiting() != "no STATE message from the primary host h yet" {
		t.Error(n.Waiting())
	}
	if d := host(n, `{"online":false,"timestamp":1}`); d.Leave != "" { // there is no other server
		t.Errorf("%+v", d)
	}
	if n.Waiting() != "the primary host h is offline since 1970-01-01T00:00:00Z" {
		t.Error(n.Waiting())
	}
	if d := host(n, `{"online":true,"timestamp":0}`); len(d.Send) != 0 {
		t.Errorf("%+v", d)
	}
	if d := host(n, `{"online":true,"timestamp":1}`); len(d.Send) != 2 {
		t.Errorf("%+v", d)
	}
}

func TestCheck(t *testing.T) {
	c := sparkplug.Config{Group: "a/b", Node: "", Host: "x#", Places: []sparkplug.Place{{Track: "[", Device: "Pump"}, {Device: "pump"}},
		Commands: []sparkplug.Command{{Metric: sparkplug.Rebirth, Type: sparkplug.Boolean}, {Metric: "m", Type: sparkplug.Bytes}, {Metric: "M", Type: sparkplug.Int8}}}
	err := sparkplug.Check(c)
	for _, part := range []string{"group", "node", "primary host", "track", "differ in case", "cannot be a command", "a command is", "twice"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %v", part, err)
		}
	}
}

func TestTopics(t *testing.T) {
	for _, bad := range []string{"", "spBv1.0/g/NDATA", "spBv1.0/g/NDATA/n/d", "spBv1.0/g/DDATA/n", "spBv1.0/g/DDATA/n/", "spBv1.0/g/STATE/n", "spAv1.0/g/NDATA/n", "spBv1.0/g/DDATA/n/d/e"} {
		if w, ok := sparkplug.ParseTopic(bad); ok {
			t.Errorf("%q is %+v", bad, w)
		}
	}
	if w, ok := sparkplug.ParseTopic(sparkplug.Topic("g", sparkplug.DCMD, "n", "d")); !ok || w != (sparkplug.ParsedTopic{Group: "g", Verb: "DCMD", Node: "n", Device: "d"}) {
		t.Error(w, ok)
	}
}
