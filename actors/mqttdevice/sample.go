package mqttdevice

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/protocols/sensor"
	samplev1 "gatewayd/schemas/sample/v1"
)

// publish publishes these points, in one message per group.
func (d *device) publish(c *actors.Context, points []int) {
	now := time.Now()
	for len(points) > 0 {
		group := d.spec.Points[points[0]].Group
		var rest []int
		m := &samplev1.Samples{Time: timestamppb.New(now), Life: c.Life()}
		for _, i := range points {
			if d.spec.Points[i].Group != group {
				rest = append(rest, i)
				continue
			}
			s := d.state.Sample(i, now)
			if s.Quality == "" && len(m.Samples) == 0 && !s.Time.IsZero() {
				m.Time = timestamppb.New(s.Time)
			}
			m.Samples = append(m.Samples, sampleOf(d.spec.Points[i].Name, s))
		}
		d.sequence[group]++
		m.Sequence = d.sequence[group]
		c.Publish(group, m)
		points = rest
	}
}

func sampleOf(name string, s sensor.Sample) *samplev1.Sample {
	m := &samplev1.Sample{Point: name, Label: s.Label, Quality: s.Quality, Cause: s.Cause}
	if s.Quality != "" && !s.Time.IsZero() {
		m.Time = timestamppb.New(s.Time)
	}
	switch v := s.Value; v.Kind {
	case sensor.Number:
		m.Value = &samplev1.Sample_Number{Number: v.Number}
	case sensor.Integer:
		m.Value = &samplev1.Sample_Integer{Integer: v.Integer}
	case sensor.Unsigned:
		m.Value = &samplev1.Sample_Unsigned{Unsigned: v.Unsigned}
	case sensor.Flag:
		m.Value = &samplev1.Sample_Flag{Flag: v.Flag}
	case sensor.Text:
		m.Value = &samplev1.Sample_Text{Text: v.Text}
	}
	return m
}
