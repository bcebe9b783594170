package modbusserver

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/protocols/modbus/image"
	"gatewayd/protocols/modbus/points"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

// stock holds the points of a config and the register image that shows them.
type stock struct {
	points []*modbusv1.ServedPoint
	image  *image.Image
	shown  map[string]map[string][]int // indexes of points, by actor and name of the point
	heard  []time.Time                 // when the last good value of each point arrived
	set    []time.Time                 // when the owner of each point last confirmed a write of a master
	values []points.Value              // last good values; valid where heard is not zero
	age    time.Duration
	spoke  bool // a value that does not fit has been logged
	news   []image.Change
}

func newStock(cfg *modbusv1.Server) (*stock, error) {
	s := &stock{points: cfg.Points, shown: map[string]map[string][]int{}, age: cfg.MaxAge.AsDuration()}
	s.heard, s.set = make([]time.Time, len(cfg.Points)), make([]time.Time, len(cfg.Points))
	s.values = make([]points.Value, len(cfg.Points))
	all := make([]image.Point, len(cfg.Points))
	for i, p := range cfg.Points {
		var err error
		if all[i], err = pointOf(p, cfg); err != nil {
			return nil, err
		}
		names := s.shown[p.From]
		if names == nil {
			names = map[string][]int{}
			s.shown[p.From] = names
		}
		names[p.Point] = append(names[p.Point], i)
	}
	fills := make([]image.Fill, len(cfg.Fill))
	for i, f := range cfg.Fill {
		fills[i] = image.Fill{Unit: unitOf(f.Unit, cfg), Area: f.Area, Address: int(f.Address), Count: int(f.Count)}
	}
	var err error
	s.image, err = image.New(all, fills)
	return s, err
}

// inherit takes over the known values of the points that old has shown.
func (s *stock) inherit(old *stock) {
	var values, missing []image.Change
	for i, p := range s.points {
		same := old.shown[p.From][p.Point]
		if len(same) == 0 || old.heard[same[0]].IsZero() {
			continue
		}
		j := same[0]
		s.heard[i], s.set[i], s.values[i] = old.heard[j], old.set[j], old.values[j]
		values = append(values, image.Change{Index: i, Value: s.values[i], Good: true})
		if !old.image.Good(j) {
			missing = append(missing, image.Change{Index: i})
		}
	}
	_ = s.image.Update(values) // a value that does not fit counts as missing
	_ = s.image.Update(missing)
}

func unitOf(unit *uint32, cfg *modbusv1.Server) uint8 {
	if unit != nil {
		return uint8(*unit)
	}
	return uint8(cfg.Unit)
}

var missing = map[string]image.Missing{"exception": image.Refuse, "last": image.Last, "sentinel": image.Sentinel}

func pointOf(p *modbusv1.ServedPoint, cfg *modbusv1.Server) (image.Point, error) {
	q := image.Point{Point: points.Point{
		Name: p.From + " " + p.Point, Area: p.Area, Address: uint16(p.Address), Type: p.Type, Order: p.Order,
		Length: int(p.Length), Scale: p.Scale, Offset: p.Offset,
	}, Unit: unitOf(p.Unit, cfg), Writable: p.Writable || p.Call != ""}
	if q.Type == "" {
		q.Type = points.Uint16
	}
	if q.Bits() {
		q.Type = points.Bool
	}
	if p.Bit != nil {
		bit := int(*p.Bit)
		q.Bit = &bit
	}
	policy := p.Missing
	if policy == "" {
		policy = cfg.Missing
	}
	q.Missing = missing[policy]
	if p.Sentinel != "" {
		raw, err := strconv.ParseUint(p.Sentinel, 0, 64)
		if err != nil {
			return q, fmt.Errorf("point %q: sentinel: %w", q.Name, err)
		}
		q.Sentinel = &raw
	}
	if p.Request != "" && (p.Call == "" || !json.Valid([]byte(strings.ReplaceAll(p.Request, placeholder, "0")))) {
		return q, fmt.Errorf("point %q: request %q: it must be JSON with %s in place of the value, and it needs a call", q.Name, p.Request, placeholder)
	}
	return q, nil
}

// paths returns the paths of the actors whose samples are needed.
func (s *stock) paths() []string {
	var all []string
	for path := range s.shown {
		all = append(all, path)
	}
	return all
}

// deliver takes over samples. Other messages on data subjects are ignored.
func (s *stock) deliver(c *actors.Context, m actors.Delivery, now time.Time) {
	path := strings.TrimPrefix(m.Topic, "data/")
	names := s.shown[path[:max(strings.LastIndexByte(path, '/'), 0)]]
	var got samplev1.Samples
	if decode(m, &got) != nil {
		return
	}
	s.news = s.news[:0]
	for _, one := range got.Samples {
		v, good := valueOf(one)
		for _, i := range names[one.Point] {
			if s.older(i, &got, now) {
				continue
			}
			s.news = append(s.news, image.Change{Index: i, Value: v, Good: good})
			if good {
				s.heard[i], s.values[i] = now, v
			}
		}
	}
	if err := s.image.Update(s.news); err != nil && !s.spoke {
		s.spoke = true
		c.Log().Warn("a value does not fit into its registers and is treated as missing; further ones are not logged", "err", err)
	}
}

// hold is how long after a write samples with an earlier time are ignored. It is short because the
// clock of the samples may differ from ours.
const hold = 5 * time.Second

// older reports whether samples are from before a point was written.
func (s *stock) older(i int, got *samplev1.Samples, now time.Time) bool {
	return got.Time != nil && now.Sub(s.set[i]) < hold && got.Time.AsTime().Before(s.set[i])
}

// written shows a value whose write the owner has confirmed until the owner publishes another one.
// A master that reads it back, or changes one bit after the other, must not get the old value.
func (s *stock) written(w image.Write, now time.Time) {
	if s.points[w.Index].Call != "" || !s.image.Good(w.Index) {
		return
	}
	s.set[w.Index], s.heard[w.Index], s.values[w.Index] = now, now, w.Value
	_ = s.image.Update([]image.Change{{Index: w.Index, Value: w.Value, Good: true}}) // it fits: it was decoded from these registers
}

func decode(m actors.Delivery, into *samplev1.Samples) error {
	if strings.HasPrefix(m.ContentType, "application/json") || m.ContentType == "" {
		return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(m.Payload, into)
	}
	return proto.Unmarshal(m.Payload, into)
}

// valueOf returns the value of a sample and whether it is good.
func valueOf(s *samplev1.Sample) (v points.Value, good bool) {
	switch x := s.Value.(type) {
	case *samplev1.Sample_Number:
		v = points.Number(x.Number)
	case *samplev1.Sample_Integer:
		v = points.Integer(x.Integer)
	case *samplev1.Sample_Unsigned:
		v = points.Unsigned(x.Unsigned)
	case *samplev1.Sample_Flag:
		v = points.Flag(x.Flag)
	case *samplev1.Sample_Text:
		v = points.Text(x.Text)
	default:
		return v, false
	}
	return v, s.Quality == ""
}

// sweep marks values as missing that have not been updated for longer than max-age.
func (s *stock) sweep(now time.Time) {
	s.news = s.news[:0]
	for i, at := range s.heard {
		if now.Sub(at) > s.age && s.image.Good(i) {
			s.news = append(s.news, image.Change{Index: i})
		}
	}
	_ = s.image.Update(s.news) // a change without a value always fits
}
