package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	grid "github.com/grid-x/modbus"
	simonvetter "github.com/simonvetter/modbus"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/serial"
	"gatewayd/protocols/serial/line"
)

// lineShares is the share of the wire's limit that must be reached at each speed.
var lineShares = map[int]float64{9600: 0.98, 19200: 0.98, 115200: 0.96}

const lineSpan = 1500 * time.Millisecond // duration of back-to-back polls, of which there are at least three

// lineUse is the figure "line": polls back to back through a line with real timing, with a unit
// that answers at once.
func lineUse(_ context.Context, b *bench) error {
	for _, baud := range []int{9600, 19200, 115200} {
		for _, n := range []int{10, 125} {
			if err := lineRow(b, baud, n); err != nil {
				return err
			}
		}
	}
	return nil
}

func lineRow(b *bench, baud, n int) error {
	limit := 1 / onWire(baud, n).Seconds()
	ours, bad, err := lineRate(b.dir, baud, n, dialOurs)
	if err != nil {
		return err
	}
	gx, _, err := lineRate(b.dir, baud, n, dialGrid)
	if err != nil {
		return fmt.Errorf("grid-x: %w", err)
	}
	sv, svBad, err := lineRate(b.dir, baud, n, dialSimonvetter)
	if err != nil {
		return fmt.Errorf("simonvetter: %w", err)
	}
	share := ours / limit
	r := row{
		Figure: fmt.Sprintf("RTU %d baud, %d registers: share of the wire", baud, n),
		Value:  fmt.Sprintf("%.1f %%, %d too early", 100*share, bad),
		Peer:   fmt.Sprintf("grid-x %.0f %%, simonvetter %.0f %% (%d)", 100*gx/limit, 100*sv/limit, svBad),
		Ratio:  ours / gx, Limit: fmt.Sprintf("≥ %.0f %%, 0 too early", 100*lineShares[baud]),
	}.above(share, lineShares[baud])
	r.Pass = r.Pass && bad == 0
	b.say(r)
	return nil
}

// onWire returns the least time a poll of n registers takes: 8 bytes out and 5 + 2n in, 11 bits
// each, and a silence of t3.5 before each frame.
func onWire(baud, n int) time.Duration {
	return time.Duration(13+2*n)*serial.CharTime(baud, 11) + 2*serial.Silence(baud)
}

// caller polls n registers once.
type caller struct {
	poll  func(n int) error
	close func()
}

// lineRate returns the median of polls per second, and how many polls violated t3.5.
func lineRate(dir string, baud, n int, dial func(path string, baud int) (caller, error)) (rate float64, early int64, err error) {
	l, err := line.New(line.Options{Dir: dir, Name: "rs485"})
	if err != nil {
		return 0, 0, err
	}
	defer l.Close()
	l.Attach(func(frame []byte, _ time.Time) ([]byte, time.Duration) { return answer(frame), 0 })
	c, err := dial(l.Path(), baud)
	if err != nil {
		return 0, 0, err
	}
	defer c.close()
	if err := c.poll(n); err != nil {
		return 0, 0, err
	}
	before := l.Stats()
	var took []time.Duration
	for begin := time.Now(); len(took) < 3 || time.Since(begin) < lineSpan; {
		one := time.Now()
		if err := c.poll(n); err != nil {
			return 0, 0, err
		}
		took = append(took, time.Since(one))
	}
	return 1 / median(took).Seconds(), l.Stats().Violations - before.Violations, nil
}

// answer returns the response of a unit to a read of holding registers.
func answer(frame []byte) []byte {
	if len(frame) < 4 {
		return nil
	}
	q, err := modbus.ParseRequest(frame[0], frame[1:len(frame)-2])
	if err != nil {
		return nil
	}
	var a modbus.Response
	if !q.Write() {
		a.Data = make([]byte, 2*q.Quantity)
	}
	pdu, err := modbus.AppendResponse(nil, q, a)
	if err != nil {
		return nil
	}
	return modbus.AppendFrame(nil, modbus.RTU, 0, q.Unit, pdu)
}

func dialOurs(path string, baud int) (caller, error) {
	port, err := serial.Open(serial.Config{Path: path, Baud: baud, Parity: "even"})
	if err != nil {
		return caller{}, err
	}
	timer, err := serial.NewTimer()
	if err != nil {
		return caller{}, errors.Join(err, port.Close())
	}
	l := modbus.NewLink(port, modbus.RTU, modbus.Options{Baud: baud, Timer: timer})
	return caller{
		poll: func(n int) error {
			_, err := l.Do(context.Background(), modbus.Request{Unit: 1, Function: modbus.ReadHoldingRegisters, Quantity: uint16(n)})
			return err
		},
		close: func() { _ = errors.Join(port.Close(), timer.Close()) },
	}, nil
}

func dialGrid(path string, baud int) (caller, error) {
	h := grid.NewRTUClientHandler(path)
	h.BaudRate, h.SlaveID, h.Timeout = baud, 1, 2*time.Second
	c := grid.NewClient(h)
	return caller{
		poll: func(n int) error {
			_, err := c.ReadHoldingRegisters(context.Background(), 0, uint16(n))
			return err
		},
		close: func() { _ = h.Close() },
	}, nil
}

func dialSimonvetter(path string, baud int) (caller, error) {
	c, err := simonvetter.NewClient(&simonvetter.ClientConfiguration{
		URL: "rtu://" + path, Speed: uint(baud), DataBits: 8, Parity: simonvetter.PARITY_EVEN, StopBits: 1, Timeout: 2 * time.Second,
	})
	if err == nil {
		err = c.Open()
	}
	if err == nil {
		err = c.SetUnitId(1)
	}
	return caller{
		poll: func(n int) error {
			_, err := c.ReadRegisters(0, uint16(n), simonvetter.HOLDING_REGISTER)
			return err
		},
		close: func() { _ = c.Close() },
	}, err
}
