package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/bus"
	"gatewayd/protocols/serial"
	"gatewayd/protocols/serial/line"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

const (
	writeBaud  = 19200
	writeUnits = 4
	writeRegs  = 60
	writes     = 100
)

// writeLatency is the figure "write": how long a write of one register takes while polls fill the
// line, from the call on the bus to its answer; and, since the line is full, which share of the
// wire is used through the actors.
func writeLatency(ctx context.Context, b *bench) error {
	f, err := newField(b.dir)
	if err != nil {
		return err
	}
	defer f.close()
	l, cfg, err := serialLine(b.dir, "line", writeBaud, writeUnits)
	if err != nil {
		return err
	}
	defer l.Close()
	g := f.plant("line", "serial-line", cfg)
	poll := onWire(writeBaud, writeRegs)
	for i := range uint32(writeUnits) {
		unit(g, 1+i, writeRegs, poll) // four times more than the line can carry
	}
	r, err := f.read()
	if err != nil {
		return err
	}
	if err := f.world.tree.Start(f.tree); err != nil {
		return err
	}
	if err := until("all units are read", 10*time.Second, func() bool {
		for i := range writeUnits {
			if r.of(fmt.Sprintf("line/unit-%d", 1+i)) < 3 {
				return false
			}
		}
		return true
	}); err != nil {
		return err
	}
	if err := throughActors(b, r, poll, l.Stats); err != nil {
		return err
	}
	var took []time.Duration
	for range writes {
		time.Sleep(time.Duration(rand.Int64N(int64(2 * poll))))
		begin := time.Now()
		req := &modbusv1.WriteRegistersRequest{Address: proto.Uint32(5), Values: []uint32{1}}
		subject := bus.Subject(gateway, bus.Cmd, fmt.Sprintf("line/unit-%d", 1+rand.IntN(writeUnits)), "WriteRegisters")
		if err := f.bus.Conn().Call(ctx, subject, req, nil); err != nil {
			return err
		}
		took = append(took, time.Since(begin))
	}
	own := 16*serial.CharTime(writeBaud, 11) + 2*serial.Silence(writeBaud) // function 6: 8 bytes each way
	limit := poll + own + 5*time.Millisecond
	p99 := quantile(took, 0.99)
	b.say(row{
		Figure: fmt.Sprintf("write under full poll load, RTU %d: p99 (p50)", writeBaud), Value: fmt.Sprintf("%.1f ms (%.1f)", ms(p99), ms(median(took))),
		Limit: fmt.Sprintf("≤ %.1f ms: poll in flight + itself + 5", ms(limit)),
	}.below(p99.Seconds(), limit.Seconds()))
	return nil
}

// throughActors returns the share of the wire that back-to-back polls use through the line and unit
// actors.
func throughActors(b *bench, r *readings, poll time.Duration, stats func() line.Stats) error {
	before := stats()
	r.reset()
	begin := time.Now()
	time.Sleep(4 * time.Second)
	polls := 0
	for i := range writeUnits {
		polls += r.of(fmt.Sprintf("line/unit-%d", 1+i))
	}
	share := float64(polls) * poll.Seconds() / time.Since(begin).Seconds()
	early := stats().Violations - before.Violations
	row := row{
		Figure: fmt.Sprintf("RTU %d, %d registers, through the actors", writeBaud, writeRegs),
		Value:  fmt.Sprintf("%.1f %%, %d too early", 100*share, early), Limit: "≥ 95 %, 0 too early",
	}.above(share, 0.95)
	row.Pass = row.Pass && early == 0
	b.say(row)
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
