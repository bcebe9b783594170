package modbusserver_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusserver"
	"gatewayd/bus"
	"gatewayd/protocols/freeport"
	"gatewayd/protocols/modbus"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

// owner starts an actor with writable points, whose WritePoint is handled by fn.
func owner(r *actorstest.Rig, path string, fn func(c *actors.Context, m *modbusv1.WritePointRequest)) {
	k := actors.Define(actors.Kind{
		Name: "owner", Doc: "owns points",
		Services: []protoreflect.ServiceDescriptor{actors.Service(modbusv1.File_modbus_v1_modbus_proto, "UnitService")},
	}, func(*structpb.Struct) actors.Actor { return owning(fn) })
	r.Start(path, k, &structpb.Struct{})
}

type owning func(c *actors.Context, m *modbusv1.WritePointRequest)

func (o owning) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case *modbusv1.WritePointRequest:
		o(c, m)
	case *modbusv1.WriteRegistersRequest:
		if len(m.Values) == 1 && m.Values[0] == 42 && m.GetAddress() == 3 {
			c.Reply(&modbusv1.WriteRegistersResponse{})
		} else {
			c.Refuse(actors.Errorf(actors.InvalidArgument, "%v", m))
		}
	}
	return nil
}

// say publishes samples of an owner.
func say(t *testing.T, r *actorstest.Rig, path string, samples ...*samplev1.Sample) {
	t.Helper()
	m := &samplev1.Samples{Time: timestamppb.Now(), Samples: samples}
	if err := r.Bus.Publish(bus.Subject(actorstest.Gateway, bus.Data, path, "points"), m); err != nil {
		t.Fatal(err)
	}
}

func number(point string, f float64) *samplev1.Sample {
	return &samplev1.Sample{Point: point, Value: &samplev1.Sample_Number{Number: f}}
}

// exception returns the exception code of the response to a request; 0: the request was carried
// out.
func exception(t *testing.T, l *modbus.Link, q modbus.Request) uint8 {
	t.Helper()
	_, err := l.Do(context.Background(), q)
	var e *modbus.Exception
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		t.Fatalf("%v: %v", q, err)
	}
	return 0
}

func write(address uint16, words ...byte) modbus.Request {
	q := modbus.Request{Unit: 1, Function: modbus.WriteMultipleRegisters, Address: address, Quantity: uint16(len(words) / 2), Data: words}
	return q
}

func TestOutcomesOfWrites(t *testing.T) {
	r := actorstest.New(t)
	var got []*modbusv1.WritePointRequest
	owner(r, "plc", func(c *actors.Context, m *modbusv1.WritePointRequest) {
		got = append(got, proto.CloneOf(m))
		switch m.GetNumber() + float64(m.GetInteger()) {
		case 1:
			c.Reply(&modbusv1.WritePointResponse{})
		case 2:
			c.Refuse(actors.Errorf(actors.InvalidArgument, "too much"))
		case 3:
			c.Refuse(actors.Errorf(actors.FailedPrecondition, "unit 7: exception 2: illegal data address"))
		case 4:
			c.Refuse(actors.Errorf(actors.Unavailable, "line unplugged"))
		case 5:
			c.Refuse(actors.Errorf(actors.DeadlineExceeded, "no answer"))
		case 6:
			c.Refuse(actors.Errorf(actors.ResourceExhausted, "too many"))
		case 7:
			c.Refuse(actors.Errorf(actors.PermissionDenied, "you may not"))
		case 8:
			c.Take() // never answered
		case 9:
			c.Refuse(errors.New("oops"))
		}
	})
	port := freeport.Port(t)
	begin(t, r, &modbusv1.Server{
		Tcp: []*modbusv1.TcpDoor{{Listen: "127.0.0.1:" + port}}, WriteTimeout: ms(3000), // one write is never answered
		Points: []*modbusv1.ServedPoint{
			{From: "plc", Point: "a", Address: 0, Type: "uint16", Writable: true},
			{From: "plc", Point: "b", Address: 1, Type: "uint32", Writable: true},
			{From: "plc", Point: "c", Address: 3, Call: "plc/WriteRegisters", Request: `{"address": 3, "values": [$value]}`},
			{From: "gone", Point: "d", Address: 4, Writable: true},
			{From: "plc", Point: "e", Address: 5},
			{From: "plc", Point: "f", Address: 6, Type: "float32", Writable: true},
		},
	})
	l := client(t, port)
	for value, want := range []uint8{1: 0, 2: 3, 3: 2, 4: 10, 5: 11, 6: 6, 7: 1, 8: 11, 9: 4} {
		if value == 0 {
			continue
		}
		if code := exception(t, l, write(0, 0, byte(value))); code != want {
			t.Errorf("write of %d is answered with exception %d, want %d", value, code, want)
		}
	}
	for name, c := range map[string]struct {
		q    modbus.Request
		want uint8
	}{
		"by a call":          {write(3, 0, 42), 0},
		"refused by a call":  {write(3, 0, 43), 3},
		"nobody there":       {write(4, 0, 1), 4},
		"half a value":       {write(1, 0, 1), 3},
		"not writable":       {write(5, 0, 1), 2},
		"nothing there":      {write(9, 0, 1), 2},
		"no number":          {write(6, 0x7f, 0xc0, 0, 0), 3},
		"function not known": {modbus.Request{Unit: 2, Function: 3, Quantity: 1}, 11},
	} {
		if code := exception(t, l, c.q); code != c.want {
			t.Errorf("%s: exception %d, want %d", name, code, c.want)
		}
	}
	before := len(got)
	if code := exception(t, l, write(0, 0, 2, 0, 0, 0, 1)); code != 3 || len(got) != before+1 {
		t.Errorf("exception %d, %d calls: it goes on after a failure", code, len(got)-before)
	}
	if code := exception(t, l, write(0, 0, 1, 0, 0, 0, 1)); code != 0 || len(got) != before+3 || got[before+2].Point != "b" {
		t.Errorf("exception %d, calls %v", code, got[before:])
	}
}

// Over TCP, units 0 and 255 address the server itself. The answer carries the unit of the request,
// because masters drop answers of other units.
func TestUnitsThatAreTheServerItself(t *testing.T) {
	r := actorstest.New(t)
	owner(r, "plc", func(c *actors.Context, m *modbusv1.WritePointRequest) {
		if m.GetInteger() == 2 {
			c.Refuse(actors.Errorf(actors.Unavailable, "line unplugged"))
			return
		}
		c.Reply(&modbusv1.WritePointResponse{})
	})
	port := freeport.Port(t)
	begin(t, r, &modbusv1.Server{Unit: 9, Tcp: []*modbusv1.TcpDoor{{Listen: "127.0.0.1:" + port}}, Points: []*modbusv1.ServedPoint{
		{From: "plc", Point: "limit", Address: 4, Writable: true},
	}})
	l := client(t, port)
	for _, unit := range []uint8{9, 0, 255} {
		for _, c := range []struct {
			request modbus.Request
			want    uint8
		}{
			{write(4, 0, 1), 0},
			{write(4, 0, 2), modbus.GatewayPath},
			{write(5, 0, 1), modbus.IllegalAddress},
			{holding(4, 1), modbus.DeviceFailure}, // no sample has arrived
			{modbus.Request{Function: modbus.MaskWriteRegister, Address: 4, Quantity: 1, Data: []byte{0, 0, 0, 1}}, 0},
			{modbus.Request{Function: modbus.ReportServerID}, 0},
		} {
			c.request.Unit = unit
			if got := exception(t, l, c.request); got != c.want {
				t.Errorf("unit %d, %v: exception %d, want %d", unit, c.request, got, c.want)
			}
		}
	}
}

// 64-bit integers reach their owner with all digits.
func TestNoDigitIsLost(t *testing.T) {
	r := actorstest.New(t)
	var got *modbusv1.WritePointRequest
	owner(r, "plc", func(c *actors.Context, m *modbusv1.WritePointRequest) {
		got = proto.CloneOf(m)
		c.Reply(&modbusv1.WritePointResponse{})
	})
	port := freeport.Port(t)
	begin(t, r, &modbusv1.Server{Tcp: []*modbusv1.TcpDoor{{Listen: "127.0.0.1:" + port}}, Points: []*modbusv1.ServedPoint{
		{From: "plc", Point: "a", Address: 0, Type: "uint64", Writable: true},
		{From: "plc", Point: "b", Address: 4, Type: "int64", Writable: true},
	}})
	l := client(t, port)
	if code := exception(t, l, write(0, 0x80, 0, 0, 0, 0, 0, 0x30, 0x39)); code != 0 || got.GetUnsigned() != 1<<63+0x3039 {
		t.Errorf("exception %d, the owner is given %v", code, got)
	}
	if code := exception(t, l, write(4, 0xff, 0xdf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)); code != 0 || got.GetInteger() != -1<<53-1 {
		t.Errorf("exception %d, the owner is given %v", code, got)
	}
}

// A confirmed write is shown until the owner publishes something newer, so that bits can be set one
// after the other.
func TestWhatWasWrittenIsReadBack(t *testing.T) {
	r := actorstest.New(t)
	word := 0.0
	owner(r, "plc", func(c *actors.Context, m *modbusv1.WritePointRequest) {
		word = m.GetNumber() + float64(m.GetInteger())
		c.Reply(&modbusv1.WritePointResponse{})
	})
	port := freeport.Port(t)
	begin(t, r, &modbusv1.Server{Tcp: []*modbusv1.TcpDoor{{Listen: "127.0.0.1:" + port}}, Points: []*modbusv1.ServedPoint{
		{From: "plc", Point: "a", Address: 0, Type: "uint16", Writable: true},
	}})
	l := client(t, port)
	old := &samplev1.Samples{Time: timestamppb.Now(), Samples: []*samplev1.Sample{number("a", 0)}}
	say(t, r, "plc", number("a", 0))
	reads(t, r, l, holding(0, 1), func(a modbus.Response) bool { return a.Register(0) == 0 })
	for bit := range 3 {
		q := modbus.Request{Unit: 1, Function: modbus.MaskWriteRegister, Data: []byte{0xff, ^byte(1 << bit), 0, 1 << bit}}
		if code := exception(t, l, q); code != 0 {
			t.Fatalf("exception %d", code)
		}
	}
	if word != 7 {
		t.Errorf("the owner has %v", word)
	}
	if err := r.Bus.Publish("gw.test.data.plc.points", old); err != nil {
		t.Fatal(err)
	}
	q := modbus.Request{Unit: 1, Function: modbus.ReadWriteMultipleRegisters, Quantity: 1, Data: []byte{0, 8}}
	if a, err := l.Do(context.Background(), q); err != nil || a.Register(0) != 8 {
		t.Errorf("read back %v %v", a, err)
	}
	say(t, r, "plc", number("a", 5))
	reads(t, r, l, holding(0, 1), func(a modbus.Response) bool { return a.Register(0) == 5 })
}

func TestMissingValues(t *testing.T) {
	r := actorstest.New(t)
	port := freeport.Port(t)
	begin(t, r, &modbusv1.Server{
		Tcp: []*modbusv1.TcpDoor{{Listen: "127.0.0.1:" + port}}, MaxAge: ms(2000),
		Points: []*modbusv1.ServedPoint{
			{From: "plc", Point: "a", Address: 0, Type: "int16"},
			{From: "plc", Point: "a", Address: 1, Type: "int16", Missing: "last"},
			{From: "plc", Point: "a", Address: 2, Type: "int16", Missing: "sentinel"},
			{From: "plc", Point: "a", Address: 3, Type: "int16", Missing: "sentinel", Sentinel: "0x7fff"},
			{From: "plc", Point: "a", Address: 4, Type: "float32", Missing: "sentinel"},
		},
	})
	l := client(t, port)
	check := func(when string, want ...int) {
		t.Helper()
		for i, w := range want {
			a, err := l.Do(context.Background(), holding(uint16(i), 1))
			if w < 0 && err == nil || w >= 0 && (err != nil || int(a.Register(0)) != w) {
				t.Errorf("%s: register %d is %v %v, want %#x", when, i, a, err, w)
			}
		}
	}
	check("at first", -1, -1, 0x8000, 0x7fff, 0x7fc0)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				say(t, r, "plc", number("a", 12))
			}
		}
	}()
	reads(t, r, l, holding(0, 1), func(modbus.Response) bool { return true })
	check("with a value", 12, 12, 12, 12, int(math.Float32bits(12)>>16))
	close(stop)
	<-stopped
	s := number("a", 12)
	s.Quality = "stale"
	say(t, r, "plc", s)
	r.Until("stale", func() bool { return exception(t, l, holding(0, 1)) == modbus.DeviceFailure })
	check("stale", -1, 12, 0x8000, 0x7fff, 0x7fc0)
	say(t, r, "plc", number("a", 13))
	reads(t, r, l, holding(0, 1), func(a modbus.Response) bool { return a.Register(0) == 13 })
	r.Until("too old", func() bool { return exception(t, l, holding(0, 1)) == modbus.DeviceFailure })
	check("too old", -1, 13, 0x8000, 0x7fff, 0x7fc0)
}

// Other messages on data subjects do no harm.
func TestStrangeSamples(t *testing.T) {
	r := actorstest.New(t)
	port := freeport.Port(t)
	cell := begin(t, r, &modbusv1.Server{Tcp: []*modbusv1.TcpDoor{{Listen: "127.0.0.1:" + port}}, Points: []*modbusv1.ServedPoint{
		{From: "plc", Point: "a", Address: 0, Type: "int16"}, {From: "plc", Point: "b", Address: 1, Area: "input", Type: "string", Length: 2},
	}})
	for _, p := range []string{"", "nonsense", "[]", `{"free": 7}`, `{"samples": [{"point": "a"}]}`, `{"samples": [{"point": "a", "text": "x"}]}`, `{"samples": [{"point": "b", "text": "much too long"}]}`} {
		for _, typ := range []string{bus.JSON, bus.Protobuf, "text/plain"} {
			if err := r.Bus.PublishRaw("gw.test.data.plc.points", typ, []byte(p)); err != nil {
				t.Fatal(err)
			}
		}
	}
	say(t, r, "plc", number("a", -2))
	l := client(t, port)
	reads(t, r, l, holding(0, 1), func(a modbus.Response) bool { return a.Register(0) == 0xfffe })
	if cell.Life() != 1 {
		t.Error("it has failed")
	}
}

// Points that their unit lacks or cannot write are found by the config check.
func TestPointsThatTheirUnitLacks(t *testing.T) {
	all := []schemas.Actor{
		{Path: "f/meter", Config: &modbusv1.Unit{
			Points:  []*modbusv1.Point{{Name: "voltage", Area: "input"}, {Name: "limit", Area: "holding"}},
			Derived: []*modbusv1.Derived{{Name: "power"}},
		}},
		{Path: "f/empty", Config: &modbusv1.Unit{}}, // its points come later
		{Path: "scada", Config: &modbusv1.Server{Points: []*modbusv1.ServedPoint{
			{From: "f/meter", Point: "voltage"}, {From: "f/meter", Point: "limit", Writable: true}, {From: "f/meter", Point: "power"},
			{From: "f/empty", Point: "x", Writable: true}, {From: "plug", Point: "x"},
			{From: "f/meter", Point: "voltag"}, {From: "f/meter", Point: "voltage", Writable: true}, {From: "f/meter", Point: "power", Writable: true},
			{From: "f/meter", Point: "voltage", Writable: true, Call: "plug/Set"},
		}}},
	}
	var got []string
	for _, f := range modbusserver.Kind.Beside(all) {
		got = append(got, f.Actor+" "+f.Field+" "+f.Message)
	}
	want := []string{
		`scada points[5].point "f/meter" has no point "voltag", did you mean "voltage"?`,
		`scada points[6].writable "f/meter" has point "voltage" in area input, which cannot be written`,
		`scada points[7].writable "f/meter" computes point "power", which cannot be written`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestConfigsThatCannotBe(t *testing.T) {
	tcp := []*modbusv1.TcpDoor{{Listen: "127.0.0.1:0"}}
	for name, cfg := range map[string]*modbusv1.Server{
		"no listener":    {},
		"outside":        {Tcp: []*modbusv1.TcpDoor{{Listen: ":0"}}},
		"overlap":        {Tcp: tcp, Points: []*modbusv1.ServedPoint{{From: "a", Point: "a", Address: 0, Type: "int32"}, {From: "a", Point: "b", Address: 1}}},
		"no order":       {Tcp: tcp, Points: []*modbusv1.ServedPoint{{From: "a", Point: "a", Order: "aaaa", Type: "int32"}}},
		"written inputs": {Tcp: tcp, Points: []*modbusv1.ServedPoint{{From: "a", Point: "a", Area: "input", Writable: true}}},
		"no JSON":        {Tcp: tcp, Points: []*modbusv1.ServedPoint{{From: "a", Point: "a", Call: "a/B", Request: "{"}}},
		"wide sentinel":  {Tcp: tcp, Points: []*modbusv1.ServedPoint{{From: "a", Point: "a", Sentinel: "0x10000"}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := actorstest.New(t).Once()
			r.Start(path, kind, cfg)
			if f := actorstest.Next(t, r.Faults); f.Level != actors.LevelBroken {
				t.Errorf("level %v: %v", f.Level, f)
			}
		})
	}
}

// Two masters who set different bits of one point at the same time do not undo each other's write.
func TestMastersThatWriteOnePointTakeTurns(t *testing.T) {
	r := actorstest.New(t)
	word := 0.0
	owner(r, "plc", func(c *actors.Context, m *modbusv1.WritePointRequest) {
		word = m.GetNumber() + float64(m.GetInteger())
		c.Reply(&modbusv1.WritePointResponse{})
	})
	port := freeport.Port(t)
	begin(t, r, &modbusv1.Server{
		Tcp: []*modbusv1.TcpDoor{{Listen: "127.0.0.1:" + port}}, WriteTimeout: ms(60_000),
		Points: []*modbusv1.ServedPoint{{From: "plc", Point: "a", Address: 0, Type: "uint16", Writable: true}},
	})
	say(t, r, "plc", number("a", 0))
	const n = 8
	var masters [n]*modbus.Link
	for i := range masters {
		masters[i] = client(t, port)
		reads(t, r, masters[i], holding(0, 1), func(modbus.Response) bool { return true })
	}
	var all sync.WaitGroup
	for i, l := range masters {
		all.Go(func() {
			mask := uint16(1<<i | 1<<(i+n))
			q := modbus.Request{Unit: 1, Function: modbus.MaskWriteRegister, Data: []byte{^byte(mask >> 8), ^byte(mask), byte(mask >> 8), byte(mask)}}
			if _, err := l.Do(context.Background(), q); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if word != 0xffff {
		t.Errorf("the owner has %016b", int(word))
	}
}
