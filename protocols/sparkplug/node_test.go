package sparkplug_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewayd/protocols/record"
	"gatewayd/protocols/sparkplug"
	"gatewayd/protocols/sparkplug/monitor"
)

var noon = time.Date(2026, 3, 5, 12, 0, 0, 0, time.UTC)

// A world is a node with its servers and its primary host, in virtual time. The host receives
// everything that reaches a server.
type world struct {
	t       *rapid.T
	n       *sparkplug.Node
	m       *monitor.Monitor
	now     time.Time
	linked  bool
	names   map[uint64]string // of aliases, as the host knows them
	current map[string]string // values of metrics, by device/name
	alive   map[string]bool
	said    map[string]int // values published outside births, by device/name, time and value
	writes  []sparkplug.Write
}

func (w *world) do(d sparkplug.Actions) {
	for _, m := range d.Send {
		w.m.Published(m.Topic, m.QoS, false, m.Payload)
		w.hear(m)
	}
	w.writes = append(w.writes, d.Writes...)
	if d.Leave != "" {
		w.m.Disconnected(false)
		w.linked = false
	}
	w.fine()
}

func (w *world) fine() {
	if f := w.m.Failures(); len(f) > 0 {
		w.t.Fatalf("%s", strings.Join(f, "\n"))
	}
}

func (w *world) hear(m sparkplug.Message) {
	at, _ := sparkplug.ParseTopic(m.Topic)
	p, err := sparkplug.Parse(m.Payload)
	if err != nil {
		w.t.Fatal(err)
	}
	birth := strings.HasSuffix(at.Verb, "BIRTH")
	switch at.Verb {
	case sparkplug.NBIRTH:
		w.names, w.current, w.alive = map[uint64]string{}, map[string]string{}, map[string]bool{"": true}
	case sparkplug.DBIRTH:
		w.alive[at.Device] = true
	case sparkplug.DDEATH:
		delete(w.alive, at.Device)
	case sparkplug.NDEATH:
		return
	}
	for _, x := range p.Metrics {
		name := at.Device + "/" + x.Name
		if birth && x.Alias != 0 {
			w.names[x.Alias] = name
		} else if x.Name == "" {
			name = w.names[x.Alias]
		}
		if !x.Historical {
			w.current[name] = fmt.Sprint(x.Value)
		}
		if !birth {
			w.said[fmt.Sprint(name, " ", x.Time, " ", x.Value)]++
		}
	}
}

func (w *world) connect() {
	will, bdSeq := w.n.Connect(w.now)
	_ = bdSeq
	w.m.Connected(fmt.Sprint(w.n.Server()), monitor.Connect{Version: 4, Clean: true, Will: true, WillTopic: will.Topic, WillPayload: will.Payload, WillQoS: will.QoS})
	for _, s := range w.n.Subscriptions() {
		w.m.Subscribed(s, 1)
	}
	w.linked = true
	w.do(w.n.Connected(w.now))
}

func (w *world) lose() {
	w.n.Lost()
	w.m.Closed()
	w.linked = false
}

// pass lets time pass, and wakes the node when it is due.
func (w *world) pass(d time.Duration) {
	end := w.now.Add(d)
	for due := w.n.Due(); w.linked && !due.IsZero(); due = w.n.Due() {
		if due = w.now.Add(min(max(due.Sub(w.now), 0), sparkplug.Patience)); due.After(end) {
			break
		}
		w.now = due
		w.do(w.n.Wake(w.now))
	}
	w.now = end
}

// Whatever happens to a node with two servers and a primary host: it conforms to the specification,
// publishes every value that Records has accepted, and after a quiet time the host knows the newest
// value of every metric and which devices are alive.
func TestNode(t *testing.T) {
	t.Parallel()
	all := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		cfg := sparkplug.Config{Group: "plant", Node: "gw", Servers: 2, Plain: rapid.Bool().Draw(t, "plain"),
			Places:   []sparkplug.Place{{Track: "tracks/own", Prefix: "own/"}, {Track: "tracks/b*", Device: "boiler"}},
			Commands: []sparkplug.Command{{Device: "boiler", Metric: "f0", Type: sparkplug.Float}, {Metric: "level", Type: sparkplug.Int16}}}
		if rapid.Bool().Draw(t, "waits") {
			cfg.Host = "scada"
		}
		bdSeq := rapid.SampledFrom([]int{-1, 0, 254, 255}).Draw(t, "bdSeq")
		n, err := sparkplug.New(cfg, bdSeq)
		if err != nil {
			t.Fatal(err)
		}
		w := &world{t: t, n: n, m: monitor.New("plant", "gw", cfg.Host), now: noon, said: map[string]int{}}
		w.m.Aliases, w.m.Writable = !cfg.Plain, map[string]bool{"boiler": true}
		w.m.Resume(bdSeq)
		h := &history{w: w, newest: map[string]string{}, number: map[string]uint64{}, absent: map[string]bool{}}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			h.step()
		}
		h.end()
		maps.Copy(all, w.m.Checked())
	})
	known := map[string]bool{}
	ids, _ := monitor.Assertions()
	for _, id := range ids {
		known[id] = true
	}
	for id := range all {
		if !known[id] {
			t.Errorf("%s is no assertion for an edge node", id)
		}
	}
}

// A history generates events.
type history struct {
	w      *world
	state  int64 // time of the host's last message
	newest map[string]string
	number map[string]uint64 // of the last record of a track
	absent map[string]bool   // devices
	values uint64
}

func (h *history) step() {
	w, t := h.w, h.w.t
	switch rapid.SampledFrom([]string{"connect", "records", "records", "records", "state", "rebirth", "write", "pass", "long", "lost", "step", "leave"}).Draw(t, "what") {
	case "connect":
		if !w.linked {
			w.connect()
		}
	case "records":
		h.records()
	case "state":
		if w.linked {
			h.host(rapid.Bool().Draw(t, "online"), rapid.SampledFrom([]int64{1, 0, -1}).Draw(t, "later"))
		}
	case "rebirth":
		if w.linked {
			p := sparkplug.Payload{Time: w.now.UnixMilli(), Seq: sparkplug.NoSeq, Metrics: []sparkplug.Metric{{Name: sparkplug.Rebirth, Value: true}}}
			topic := sparkplug.Topic("plant", "NCMD", "gw", "")
			w.m.Told(topic, false, p.Append(nil))
			w.do(w.n.Command(topic, p.Append(nil), w.now))
		}
	case "write":
		if w.linked && w.n.Born() {
			h.write()
		}
	case "pass":
		w.pass(time.Duration(rapid.IntRange(0, 900).Draw(t, "ms")) * time.Millisecond)
	case "long":
		w.pass(time.Duration(rapid.IntRange(1, 90).Draw(t, "s")) * time.Second)
	case "lost":
		if w.linked {
			w.lose()
		}
	case "step":
		w.now = w.now.Add(time.Duration(rapid.IntRange(-90_000, 90_000).Draw(t, "by")) * time.Second)
	case "leave":
		if w.linked {
			for _, m := range w.n.Leave(w.now) {
				w.m.Published(m.Topic, m.QoS, false, m.Payload)
			}
			w.m.Stopping = true
			w.m.Disconnected(false)
			w.m.Stopping, w.linked = false, false
			w.fine()
		}
	}
}

func (h *history) host(online bool, later int64) {
	h.state += later * 1000
	payload := fmt.Appendf(nil, `{"online":%v,"timestamp":%d}`, online, 1e12+h.state)
	topic := sparkplug.StateTopic("scada")
	h.w.m.Told(topic, true, payload)
	h.w.do(h.w.n.Host(topic, payload, h.w.now))
}

func (h *history) write() {
	w := h.w
	p := sparkplug.Payload{Time: w.now.UnixMilli(), Seq: sparkplug.NoSeq, Metrics: []sparkplug.Metric{{Name: "level", Value: sparkplug.Int(0xFFFFFFFE)}, {Name: "none", Value: true}}}
	w.do(w.n.Command(sparkplug.Topic("plant", "NCMD", "gw", ""), p.Append(nil), w.now))
	if len(w.writes) != 1 || w.writes[0].Value != int64(-2) {
		w.t.Fatalf("%+v", w.writes)
	}
	outcome := rapid.SampledFrom([]string{"ok", "no answer"}).Draw(w.t, "outcome")
	if outcome == "ok" {
		h.newest["/level"] = fmt.Sprint(sparkplug.Int(0xFFFFFFFE))
	}
	h.newest["/level/outcome"] = outcome
	w.do(w.n.Done(w.writes[0], outcome, w.now))
	w.writes = nil
}

// records makes a batch, old and new records mixed, and submits it until the node accepts it, as an
// uplink does.
func (h *history) records() {
	w, t := h.w, h.w.t
	var batch []record.Record
	want := map[string]int{}
	var after []func()
	number, gone := maps.Clone(h.number), map[string]bool{}
	at := w.now.Add(-time.Duration(rapid.IntRange(0, 5000).Draw(t, "age")) * time.Millisecond * time.Duration(rapid.SampledFrom([]int{0, 1, 1000}).Draw(t, "scale")))
	for range rapid.IntRange(1, 8).Draw(t, "records") {
		track := rapid.SampledFrom([]string{"tracks/own", "tracks/boiler", "tracks/meter-1", "tracks/meter-2"}).Draw(t, "track")
		device := map[string]string{"tracks/own": "", "tracks/boiler": "boiler"}[track]
		if strings.HasPrefix(track, "tracks/m") {
			device = strings.ReplaceAll(track, "/", ".")
		}
		at = at.Add(time.Duration(rapid.IntRange(0, 50).Draw(t, "on")) * time.Millisecond)
		number[track]++
		r := record.Record{Track: track, Sequence: number[track], Time: at, Absent: rapid.IntRange(0, 9).Draw(t, "absent") == 0}
		gone[device] = r.Absent && strings.HasPrefix(track, "tracks/m")
		if !r.Absent {
			for _, f := range rapid.SliceOfNDistinct(rapid.IntRange(0, 3), 1, 3, rapid.ID).Draw(t, "fields") {
				h.values++
				v := float64(h.values)
				name := fmt.Sprint("f", f)
				q := rapid.SampledFrom([]string{"", "", "stale", "bad"}).Draw(t, "quality")
				r.Fields = append(r.Fields, record.Field{Name: name, Value: v, Quality: q})
				metric := device + "/" + name
				if device == "" {
					metric = "/own/" + name
				}
				said := fmt.Sprint(v)
				want[fmt.Sprint(metric, " ", at.UnixMilli(), " ", said)]++
				after = append(after, func() { h.newest[metric] = said })
			}
		}
		batch = append(batch, r)
	}
	before := maps.Clone(w.said)
	d, err := w.n.Records(batch, w.now)
	if err != nil {
		if w.n.Born() {
			t.Fatal(err)
		}
		return
	}
	w.do(d)
	for k, n := range want {
		if w.said[k]-before[k] < n {
			t.Fatalf("%s was not said", k)
		}
	}
	h.number = number
	for _, f := range after {
		f()
	}
	maps.Copy(h.absent, gone)
}

// end brings the host online and lets the node settle.
func (h *history) end() {
	w := h.w
	for range 4 {
		if !w.linked {
			w.connect()
		}
		if w.m.Host != "" {
			h.state += 1e9
			h.host(true, 1)
		}
	}
	w.pass(10 * time.Second)
	d, err := w.n.Records(nil, w.now)
	if err != nil {
		w.t.Fatal(err, w.n.Waiting())
	}
	w.do(d)
	w.pass(10 * time.Second)
	for k, v := range h.newest {
		device, _, _ := strings.Cut(k, "/")
		if w.alive[device] && w.current[k] != v {
			w.t.Fatalf("the host has %q for %s, which is %s", w.current[k], k, v)
		}
	}
	for d, gone := range h.absent {
		if d != "" && w.alive[d] == gone {
			w.t.Fatalf("%s lives: %v, absent: %v", d, w.alive[d], gone)
		}
	}
}
