package uplink

import (
	"context"
	"errors"
	"math/bits"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/record"
	far "gatewayd/protocols/uplink"
)

// scouted is the outcome of sending a record from anywhere in the tracks, after the far end has
// refused everything that was read.
type scouted struct {
	find
	err error // of the far end, or of the store
}

// find is the first record of a message that the rules select.
type find struct {
	record record.Record // sequence 0: none found
	seq    uint64        // of the message
	passed uint64        // number of the records of the message up to and including it
}

// scout sends a record that the read position has not reached. It arrives out of order, and only
// once.
func (e *engine) scout(c *actors.Context) {
	e.sending = true
	turn := e.turn
	e.turn++
	sender, reader, table, limit := e.sender, e.reader, e.table, e.cfg.Timeout.AsDuration()
	after, before := e.main.last, e.from
	c.Do(openTime+limit+5*time.Second, func(ctx context.Context) (any, error) {
		f, err := anywhere(ctx, reader, table, turn, after, before)
		if err != nil || f.record.Sequence == 0 {
			return scouted{f, err}, nil
		}
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return scouted{f, sender.Send(ctx, []record.Record{f.record})}, nil
	})
}

// anywhere returns in even turns the newest record of each track in turn, and in odd turns one from
// a position between the first and the last message; these positions divide the range ever more
// finely. The message lies after sequence after and, unless before is 0, ahead of sequence before.
func anywhere(ctx context.Context, reader *actors.Reader, table *far.Table, turn int, after, before uint64) (f find, err error) {
	var s actors.Stored
	if turn%2 == 0 {
		_, behind, err := reader.Backlog(ctx, true)
		if err != nil || len(behind) == 0 {
			return f, err
		}
		s = behind[turn/2%len(behind)].Newest
	} else {
		end, err := reader.End(ctx)
		if err != nil || end <= after {
			return f, err
		}
		part := float64(bits.Reverse32(uint32(turn/2+1))) / (1 << 32)
		all, err := reader.Peek(ctx, after+1+uint64(part*float64(end-after)), 1)
		if err != nil || len(all) == 0 {
			return f, err
		}
		s = all[0]
	}
	if s.Seq <= after || before > 0 && s.Seq >= before || s.ContentType != record.ChunkType {
		return f, nil
	}
	var follow record.Follow
	records, _, err := follow.Chunk(s.Path, s.Data)
	if err != nil {
		return f, nil // damage is reported when the read position gets there
	}
	for i, r := range records {
		if routed, ok := table.Route(r, far.Free); ok {
			return find{routed, s.Seq, uint64(i) + 1}, nil
		}
	}
	return f, nil
}

func (e *engine) scouted(c *actors.Context, m scouted) {
	e.sending = false
	e.count()
	var rejected *far.RejectedError
	switch {
	// There is none, or the store fails, which is reported when it is read.
	case m.record.Sequence == 0 && e.refusal == "":
		e.broken(c, errors.New(e.error))
	case m.record.Sequence == 0 || errors.As(m.err, &rejected):
		e.endRound(c)
	case m.err == nil:
		e.batch, e.good = []record.Record{m.record}, m.record
		if e.parts == nil {
			e.parts = map[uint64]uint64{}
		}
		e.parts[m.seq] = m.record.Sequence
		e.early += m.passed
		e.moved = true
		e.acknowledged(c, 1)
		e.noteAccepted()
	default:
		e.broken(c, m.err)
	}
	e.release(c)
}
