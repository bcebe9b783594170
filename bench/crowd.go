package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/serial/line"
	"gatewayd/supervisor/config"
)

const (
	rushMasters = 500
	rushRowdy   = 12
	rushEvery   = 200 * time.Millisecond
	rushSpan    = 30 * time.Second
	rushSlots   = 0.99
)

// crowdedPolling is the figure "crowd": the share of our own polls that bring a good value while
// masters use the line to its limit.
func crowdedPolling(ctx context.Context, b *bench) error {
	w, l, port, err := gatewayOn(b, "crowd", line.Options{}, func(f *field, g *config.Node) { unit(g, 2, crowdRegs, rushEvery) })
	if err != nil {
		return err
	}
	defer l.Close()
	defer w.close()
	r, err := (&field{world: w}).read()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for i := range rushMasters + rushRowdy {
		all.Go(func() {
			for ctx.Err() == nil {
				rush(ctx, port, i)
			}
		})
	}
	time.Sleep(3 * time.Second) // until all are connected
	r.reset()
	begin := time.Now()
	time.Sleep(rushSpan)
	slots := time.Since(begin) / rushEvery // the least number of complete slots
	kept := min(float64(r.of("crowd/unit-2"))/float64(slots), 1)
	b.say(row{
		Figure: fmt.Sprintf("polling beside %d masters: slots kept", rushMasters), Value: fmt.Sprintf("%.1f %%", 100*kept), Limit: "≥ 99 %",
	}.above(kept, rushSlots))
	return nil
}

// rush is one connection of a master. Most masters send requests; some send anything else.
func rush(ctx context.Context, port, i int) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	ask := modbus.Request{Unit: 1, Function: modbus.ReadHoldingRegisters, Address: uint16(i), Quantity: crowdRegs}
	frame := modbus.AppendFrame(nil, modbus.TCP, uint16(i), 1, modbus.AppendRequest(nil, ask))
	if i < rushMasters {
		_, _ = askOn(c, frame, time.Now().Add(time.Hour))
		return
	}
	_, _ = c.Write([][]byte{bytes.Repeat([]byte("GET / HTTP/1.0\r\n"), 50), frame[:9]}[i%2])
	_, _ = c.Read(make([]byte, 1)) // until the connection is closed
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Millisecond):
	}
}
