package sim_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listen serves a plant over TCP until the test ends.
func listen(t testing.TB, p *sim.Plant) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.ServeTCP(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func dial(t testing.TB, address string) *modbus.Link {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return modbus.NewLink(conn, modbus.TCP, modbus.Options{Timeout: 5 * time.Second})
}

func read(unit uint8, address, quantity uint16) modbus.Request {
	return modbus.Request{Unit: unit, Function: modbus.ReadHoldingRegisters, Address: address, Quantity: quantity}
}

// TestTablesAreAMap: whatever is put, followed and written, a device contains what a plain map
// would.
func TestTablesAreAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, want := sim.NewDevice(1), map[uint16]uint16{}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			first := uint16(rapid.IntRange(0, 60).Draw(t, "first"))
			values := rapid.SliceOfN(rapid.Uint16(), 1, 20).Draw(t, "values")
			if rapid.Bool().Draw(t, "live") {
				d.Follow(sim.HoldingRegisters, first, len(values), func(a uint16) uint16 { return a * 7 })
				for i := range values {
					want[first+uint16(i)] = (first + uint16(i)) * 7
				}
				continue
			}
			d.Put(sim.HoldingRegisters, first, values...)
			for i, v := range values {
				want[first+uint16(i)] = v
			}
		}
		for a := range uint16(90) {
			got, ok := d.Get(sim.HoldingRegisters, a, 1)
			v, there := want[a]
			if ok != there || ok && got[0] != v {
				t.Fatalf("address %d: %v %v, want %d %v", a, got, ok, v, there)
			}
		}
	})
}

func TestHolesAndTheLastAddress(t *testing.T) {
	d := sim.NewDevice(3)
	d.Put(sim.HoldingRegisters, 10, 1, 2, 3)
	d.Put(sim.HoldingRegisters, 14, 5)
	d.Put(sim.HoldingRegisters, 65535, 6, 7)
	l := dial(t, listen(t, sim.NewPlant(d)))
	for _, c := range []struct {
		request modbus.Request
		code    uint8
	}{
		{read(3, 10, 3), 0}, {read(3, 10, 5), modbus.IllegalAddress}, {read(3, 14, 1), 0}, {read(3, 65535, 1), 0}, {read(3, 9, 1), modbus.IllegalAddress},
		{modbus.Request{Unit: 3, Function: modbus.ReadCoils, Quantity: 1}, modbus.IllegalAddress},
		{modbus.Request{Unit: 3, Function: modbus.WriteMultipleRegisters, Address: 12, Quantity: 2, Data: []byte{9, 9, 9, 9}}, modbus.IllegalAddress},
		{read(4, 10, 1), modbus.GatewayTarget},
	} {
		_, err := l.Do(context.Background(), c.request)
		var e *modbus.Exception
		if got := errors.As(err, &e); got != (c.code != 0) || got && e.Code != c.code {
			t.Errorf("%v: %v, want code %d", c.request, err, c.code)
		}
	}
	if got, _ := d.Get(sim.HoldingRegisters, 12, 1); got[0] != 3 {
		t.Error("a write over a hole was carried out by half")
	}
	if c := d.Counters(); c.Writes != 0 || c.Requests != 7 || c.Answers != 7 {
		t.Errorf("counters %+v", c)
	}
}

func TestWritesAreSeen(t *testing.T) {
	d := sim.NewDevice(1)
	d.Put(sim.Coils, 0, 0, 0, 0)
	seen := make(chan []uint16, 1)
	d.Changed(func(_ sim.Table, address uint16, values []uint16) { seen <- append([]uint16{address}, values...) })
	l := dial(t, listen(t, sim.NewPlant(d)))
	if _, err := l.Do(context.Background(), modbus.Request{Unit: 1, Function: modbus.WriteMultipleCoils, Address: 1, Quantity: 2, Data: []byte{3}}); err != nil {
		t.Fatal(err)
	}
	if got := <-seen; !slices.Equal(got, []uint16{1, 1, 1}) {
		t.Errorf("seen %v", got)
	}
}

func TestManyClientsWhileBehaviourChanges(t *testing.T) {
	devices := make([]*sim.Device, 20)
	for i := range devices {
		devices[i] = sim.NewDevice(uint8(i + 1))
		devices[i].Follow(sim.HoldingRegisters, 0, 30, func(a uint16) uint16 { return a })
	}
	address := listen(t, sim.NewPlant(devices...))
	stop, changing := make(chan struct{}), sync.WaitGroup{}
	changing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				d := devices[i%len(devices)]
				d.Behave(sim.Behaviour{Pieces: i % 5, Exception: uint8(i % 2 * 4)})
				d.Put(sim.HoldingRegisters, 40, uint16(i))
			}
		}
	})
	var clients sync.WaitGroup
	for i := range 40 {
		l := dial(t, address)
		clients.Go(func() {
			for range 50 {
				got, err := l.Do(context.Background(), read(uint8(i%20+1), 0, 30))
				var e *modbus.Exception
				if err != nil && !errors.As(err, &e) || err == nil && got.Register(29) != 29 {
					t.Errorf("%v %v", got, err)
					return
				}
			}
		})
	}
	clients.Wait()
	close(stop)
	changing.Wait()
	total := int64(0)
	for _, d := range devices {
		total += d.Counters().Requests
	}
	if total != 40*50 {
		t.Errorf("%d requests counted, 2000 sent", total)
	}
}

// TestPipelinedRequestsAreAnsweredInOrder: several requests in one segment, as sent by fast
// clients.
func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	d := sim.NewDevice(1)
	d.Follow(sim.HoldingRegisters, 0, 100, func(a uint16) uint16 { return a })
	conn, err := net.Dial("tcp", listen(t, sim.NewPlant(d)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var out []byte
	for i := range uint16(100) {
		out = modbus.AppendFrame(out, modbus.TCP, i, 1, modbus.AppendRequest(nil, read(1, i, 1)))
	}
	if _, err := conn.Write(out); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 11)
	for i := range byte(100) {
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		for n := 0; n < len(answer); {
			k, err := conn.Read(answer[n:])
			if err != nil {
				t.Fatal(err)
			}
			n += k
		}
		if answer[1] != i || answer[10] != i {
			t.Fatalf("answer %d: %x", i, answer)
		}
	}
}

// TestEndOfContextEndsEverything: including delayed answers; goleak detects what remains.
func TestEndOfContextEndsEverything(t *testing.T) {
	for name, b := range map[string]sim.Behaviour{"late": {Late: time.Hour}, "slow": {Delay: time.Hour}, "in pieces": {Pieces: 1, Pause: time.Hour}, "silent": {Silent: true}} {
		t.Run(name, func(t *testing.T) {
			d := sim.NewDevice(1)
			d.Put(sim.HoldingRegisters, 0, 1)
			d.Behave(b)
			l := dial(t, listen(t, sim.NewPlant(d)))
			r := read(1, 0, 1)
			r.Timeout = 20 * time.Millisecond
			if _, err := l.Do(context.Background(), r); !errors.Is(err, modbus.ErrTimeout) {
				t.Error(err)
			}
		})
	}
}

func TestFlakyAndHangup(t *testing.T) {
	d := sim.NewDevice(1)
	d.Put(sim.HoldingRegisters, 0, 1)
	address := listen(t, sim.NewPlant(d))
	d.Behave(sim.Behaviour{Flaky: 0.5, Seed: 7})
	l, lost := dial(t, address), 0
	for range 40 {
		r := read(1, 0, 1)
		r.Timeout = 20 * time.Millisecond
		_, err := l.Do(context.Background(), r)
		if err != nil && !errors.Is(err, modbus.ErrTimeout) {
			t.Fatal(err)
		}
		if err != nil {
			lost++
		}
	}
	if lost < 5 || lost > 35 {
		t.Errorf("%d of 40 requests lost by half", lost)
	}
	d.Behave(sim.Behaviour{Hangup: true})
	if _, err := l.Do(context.Background(), read(1, 0, 1)); err != nil {
		t.Errorf("the answer comes before the hangup: %v", err)
	}
	if _, err := l.Do(context.Background(), read(1, 0, 1)); !modbus.LinkLost(err) {
		t.Errorf("after the hangup: %v", err)
	}
}
