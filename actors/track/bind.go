package track

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/protocols/record"
	"gatewayd/protocols/recorder"
	samplev1 "gatewayd/schemas/sample/v1"
	trackv1 "gatewayd/schemas/track/v1"
)

// source says which points a field of the config is recorded from.
type source struct {
	path  string // of the actor, possibly with wildcards
	point string // "+": any point
	field recorder.Field
}

// sourceOf parses field i of the config.
func sourceOf(i int, f *trackv1.Field) (source, error) {
	at := strings.LastIndexByte(f.From, '/')
	if at <= 0 || at == len(f.From)-1 {
		return source{}, fmt.Errorf("%q is not a point of an actor, like \"field/rs485-1/meter-7/power\"", f.From)
	}
	s := source{path: f.From[:at], point: f.From[at+1:]}
	for tok := range strings.SplitSeq(s.path, "/") {
		if tok != "+" && (tok == "" || strings.Trim(tok, "abcdefghijklmnopqrstuvwxyz0123456789-") != "") {
			return source{}, fmt.Errorf("%q is not an actor: a path consists of tokens of a-z, 0-9 and '-' joined by '/', + for any one of them", s.path)
		}
	}
	if s.point != "+" && strings.ContainsAny(s.point, "+#*") {
		return source{}, errors.New("+ must be a whole token")
	}
	s.field = recorder.Field{
		Name: f.Name, ID: f.Id, Unit: f.Unit, Policy: recorder.Policy(f.Policy), Absolute: f.Deadband, Percent: f.DeadbandPercent,
		MinInterval: f.MinInterval.AsDuration(), Period: f.Period.AsDuration(), Resample: recorder.Resample(f.Resample),
	}
	if s.single() {
		if s.field.Name == "" {
			s.field.Name = s.point
		}
		if s.field.ID == 0 {
			s.field.ID = uint32(i + 1)
		}
	}
	return s, nil
}

// single reports whether the source is a single point.
func (s source) single() bool { return s.point != "+" && !strings.Contains(s.path, "+") }

// matches reports whether the source includes a point of an actor.
func (s source) matches(path, point string) bool {
	if s.point != "+" && s.point != point {
		return false
	}
	for rest := s.path; ; {
		p, prest, pmore := strings.Cut(rest, "/")
		q, qrest, qmore := strings.Cut(path, "/")
		if p != "+" && p != q || pmore != qmore {
			return false
		}
		if !pmore {
			return true
		}
		rest, path = prest, qrest
	}
}

// called returns the field's name for this point.
func (s source) called(path, point string) string {
	name := s.field.Name
	if s.single() {
		return name
	}
	var parts []string
	if name != "" {
		parts = append(parts, name)
	}
	if strings.Contains(s.path, "+") {
		parts = append(parts, path[strings.LastIndexByte(path, '/')+1:])
	}
	if name == "" || s.point == "+" {
		parts = append(parts, point)
	}
	return strings.Join(parts, ".")
}

// bind adds a field for a point.
func (t *track) bind(s source, path, point string, now recorder.Moment) {
	f := s.field
	f.Name = s.called(path, point)
	if t.names[f.Name] {
		f.Name = strings.ReplaceAll(path, "/", ".") + "." + point
	}
	t.names[f.Name] = true
	key := path + "/" + point
	if f.ID == 0 {
		f.ID = t.numberOf(key)
	}
	t.numbers[f.ID] = true
	t.bound[key] = append(t.bound[key], t.rec.Add(f, now))
}

// numberOf derives a field number from a name. It is outside the range a config can choose. If
// another field has that number already, the name is hashed once more.
func (t *track) numberOf(name string) uint32 {
	h := fnv.New32a()
	for {
		_, _ = h.Write([]byte(name))
		if n := h.Sum32() | 1<<31; !t.numbers[n] {
			return n
		}
	}
}

// deliver handles a message of the bus: readings, or an event that triggers a record of all fields.
func (t *track) deliver(c *actors.Context, m actors.Delivery) {
	class, rest, _ := strings.Cut(m.Topic, "/")
	if class == "event" {
		t.add(c, t.rec.Record(t.now(c), m.Topic))
		t.schedule(c)
		return
	}
	at := strings.LastIndexByte(rest, '/')
	var all samplev1.Samples
	if at <= 0 || decode(m, &all) != nil || len(all.Samples) == 0 {
		return // some other message of the actor
	}
	now := t.now(c)
	if values := t.values(rest[:at], all.Samples, now); len(values) > 0 {
		c.Worked()
		t.heed(c)(t.rec.Take(taken(now, &all), values))
		if !t.spoken {
			t.spoken = true
			t.say(c)
		}
	}
}

func decode(m actors.Delivery, into proto.Message) error {
	if m.ContentType == "application/protobuf" {
		return proto.Unmarshal(m.Payload, into)
	}
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(m.Payload, into)
}

// values returns the values of the recorded points. Points seen for the first time are bound to
// their fields.
func (t *track) values(path string, all []*samplev1.Sample, now recorder.Moment) []recorder.Value {
	var values []recorder.Value
	for _, s := range all {
		key := path + "/" + s.Point
		bound, known := t.bound[key]
		if !known {
			t.bound[key] = nil
			for _, from := range t.sources {
				if !from.single() && from.matches(path, s.Point) {
					t.bind(from, path, s.Point, now)
				}
			}
			bound = t.bound[key]
		}
		for _, field := range bound {
			values = append(values, recorder.Value{Field: field, Value: valueOf(s), Quality: s.Quality, Cause: s.Cause})
		}
	}
	return values
}

func valueOf(s *samplev1.Sample) record.Value {
	switch v := s.Value.(type) {
	case *samplev1.Sample_Number:
		return v.Number
	case *samplev1.Sample_Integer:
		return v.Integer
	case *samplev1.Sample_Unsigned:
		return v.Unsigned
	case *samplev1.Sample_Flag:
		return v.Flag
	case *samplev1.Sample_Text:
		return v.Text
	}
	return nil
}

// underWay is how old a reading may be by the wall clock. A reading that seems older, or from the
// future, was taken before a step of that clock.
const underWay = time.Minute

// taken returns when the readings were taken.
func taken(now recorder.Moment, all *samplev1.Samples) recorder.Moment {
	if all.Time == nil {
		return now
	}
	ago := now.Wall.Sub(all.Time.AsTime())
	if ago < 0 || ago > min(underWay, now.Uptime) {
		return now
	}
	return recorder.Moment{Uptime: now.Uptime - ago, Wall: all.Time.AsTime(), Trusted: now.Trusted}
}
