package mqttbridge

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

// meter counts messages.
type meter struct {
	out, in                  uint64
	dropped, refused, looped uint64
	expired                  uint64
	since                    time.Time // the last turn
	outThen, inThen          uint64    // at the last turn
	outRate, inRate          float64   // messages per second before the last turn
}

func (m *meter) sent(n int) { m.out += uint64(n) }
func (m *meter) received()  { m.in++ }

// turn recomputes the rates.
func (m *meter) turn(now time.Time) {
	if s := now.Sub(m.since).Seconds(); s >= 1 {
		m.outRate, m.inRate = float64(m.out-m.outThen)/s, float64(m.in-m.inThen)/s
		m.outThen, m.inThen, m.since = m.out, m.in, now
	}
}

const statusTime = 5 * time.Second

// status answers BridgeStatus, including what waits on disk.
func (b *bridge) status(c *actors.Context) {
	m := &b.meter
	r := &mqttv1.BridgeStatusResponse{
		State: b.state(), Buffered: uint32(len(b.outbox.waiting)), Sent: m.out, Received: m.in, SentRate: m.outRate, ReceivedRate: m.inRate,
		Dropped: m.dropped, Refused: m.refused, Looped: m.looped, Expired: m.expired,
	}
	if b.outbox.keeping != nil {
		r.Buffered += uint32(b.outbox.count)
	}
	reader, request := b.outbox.reader, c.Take()
	if reader == nil {
		request.Reply(r)
		return
	}
	c.Do(statusTime, func(ctx context.Context) (any, error) {
		n, behind, err := reader.Backlog(ctx, true)
		if err != nil {
			request.Refuse(err)
			return nil, nil
		}
		if r.Backlog = n; len(behind) > 0 {
			r.Oldest = timestamppb.New(behind[0].Oldest.Time)
		}
		request.Reply(r)
		return nil, nil
	})
}
