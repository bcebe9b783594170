package modbuslink

import (
	"context"
	"encoding/hex"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/explain"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

func (d *Dispatcher) trace(c *actors.Context, m *modbusv1.TraceRequest) {
	filter := modbus.Filter{Unit: -1, Function: uint8(m.Function)}
	if m.Unit != nil {
		filter.Unit = int(*m.Unit)
	}
	ear, err := explain.Listen(d.Tap, filter, m.Kept)
	if err != nil {
		c.Refuse(actors.Errorf(actors.ResourceExhausted, "trace: %s", err))
		return
	}
	c.Stream(passing{ear})
}

const (
	// frames is the trace leaf with all frames.
	frames = "frames"
	// looks is the interval at which a busy link checks whether anybody listens to that leaf.
	looks = 2 * time.Second
)

// Show publishes the frames on the trace leaf if somebody listens there. It is called after each
// transaction.
func (d *Dispatcher) Show(c *actors.Context) {
	now := d.now()
	if d.showing || now-d.looked < looks {
		return
	}
	d.looked = now
	if !c.HasSubscribers(frames) {
		return
	}
	if ear, err := explain.Listen(d.Tap, modbus.Filter{Unit: -1}, false); err == nil {
		d.showing = true
		c.PublishTrace(frames, passing{ear})
	}
}

// passing is an actors.Source of the frames that pass on the link.
type passing struct{ *explain.TapReader }

// Next implements actors.Source.
func (p passing) Next(ctx context.Context) (proto.Message, error) {
	line, err := p.TapReader.Next(ctx)
	if err != nil {
		return nil, err
	}
	return &modbusv1.TraceResponse{Frame: Frame(line), Framing: p.Framing().String(), Missed: p.Missed()}, nil
}

// Frame converts a line of a trace to its message.
func Frame(l explain.Line) *modbusv1.Frame {
	f := &modbusv1.Frame{
		Time: timestamppb.New(l.At), Gap: durationpb.New(l.Gap), Direction: l.Direction, Mark: l.Mark,
		Unit: uint32(l.Unit), Function: uint32(l.Function), Text: l.Text, Hex: hex.EncodeToString(l.Bytes),
	}
	if l.Size > len(l.Bytes) {
		f.Size = uint32(l.Size)
	}
	return f
}

// ReportFault publishes an event that the line or link does not work as it should, with the last
// frames that have passed.
func (d *Dispatcher) ReportFault(c *actors.Context, state, cause string) {
	if untold, ok := d.eventLimiter.Allow(state, d.now()); ok {
		c.Event("failed", Failed(d.Tap, state, cause, untold))
	}
}

// Failed returns the event that something on a tapped link does not work as it should, with the
// last frames that have passed there. tap may be nil.
func Failed(tap *modbus.Tap, state, cause string, untold uint32) *modbusv1.Failed {
	x := explain.Last(tap)
	m := &modbusv1.Failed{Time: timestamppb.Now(), State: state, Cause: cause, Untold: untold, Framing: x.Framing, Frames: x.Lines}
	if len(x.Lines) > 0 {
		m.Began = timestamppb.New(x.Began)
	}
	return m
}
