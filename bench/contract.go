package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/bus"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
	"gatewayd/supervisor/config"
)

const (
	contractRounds = 9
	contractRun    = 20_000 // messages per round
	contractAhead  = 256    // messages in flight
)

// echo publishes a batch of samples for each message it receives; both sides do.
type echo struct{ out *samplev1.Samples }

func samplesOf(n int) *samplev1.Samples {
	s := &samplev1.Samples{Time: timestamppb.New(time.Unix(1_800_000_000, 0))}
	for i := range n {
		s.Samples = append(s.Samples, &samplev1.Sample{Point: fmt.Sprintf("point-%d", i), Value: &samplev1.Sample_Number{Number: float64(i) / 4}})
	}
	return s
}

func (e echo) Receive(c *actors.Context, msg any) error {
	switch msg.(type) {
	case actors.Started:
		return c.Subscribe("data/feed/#")
	case actors.Delivery:
		c.Publish("points", e.out)
	case *modbusv1.StatisticsRequest:
		c.Reply(&modbusv1.StatisticsResponse{Answered: 7})
	}
	return nil
}

// side is one of the two sides under comparison, ready for rounds of messages and of calls.
type side struct {
	feed func() error
	out  <-chan struct{}
	call func(ctx context.Context) error
}

// contract is the figure "contract": what host and bus cost, compared with bare protoactor and bare
// nats.go. A message is published and delivered to an actor, which publishes a batch of 30 samples
// as JSON, which is delivered to a subscriber. A call is a JSON request that is decoded and
// answered by the actor in JSON.
func contract(ctx context.Context, b *bench) error {
	mine, err := houseSide(filepath.Join(b.dir, "house"))
	if err != nil {
		return err
	}
	theirs, err := bareSide()
	if err != nil {
		return err
	}
	run := func(work func(side) error, n int) (ours, bare []float64, err error) {
		for range contractRounds {
			for _, s := range []struct {
				side
				into *[]float64
			}{{mine, &ours}, {theirs, &bare}} {
				begin := cpuSelf()
				if err := work(s.side); err != nil {
					return nil, nil, err
				}
				*s.into = append(*s.into, float64((cpuSelf()-begin).Nanoseconds())/float64(n)/1e3)
			}
		}
		return ours, bare, nil
	}
	say := func(what string, ours, bare []float64) {
		m, p := median(ours), median(bare)
		b.say(row{
			Figure: "cost of the contract: " + what, Value: fmt.Sprintf("%.1f µs CPU", m),
			Peer: fmt.Sprintf("protoactor + nats.go %.1f µs", p), Ratio: m / p, Limit: "≤ 1.3×",
		}.below(m/p, 1.3))
	}
	ours, bare, err := run(stream, contractRun)
	if err != nil {
		return err
	}
	say("a message in, 30 samples out", ours, bare)
	ours, bare, err = run(func(s side) error { return calls(ctx, s) }, contractCalls)
	if err != nil {
		return err
	}
	say("a call", ours, bare)
	return nil
}

// stream sends a round of messages, a limited number of them in flight.
func stream(s side) error {
	for i := range contractRun {
		if i >= contractAhead {
			<-s.out
		}
		if err := s.feed(); err != nil {
			return err
		}
	}
	for range contractAhead {
		<-s.out
	}
	return nil
}

const (
	contractCalls   = 8_000
	contractCallers = 8
)

func calls(ctx context.Context, s side) error {
	done := make(chan error, contractCallers)
	for range contractCallers {
		go func() {
			var err error
			for i := 0; i < contractCalls/contractCallers && err == nil; i++ {
				err = s.call(ctx)
			}
			done <- err
		}()
	}
	var first error
	for range contractCallers {
		if err := <-done; err != nil && first == nil {
			first = err
		}
	}
	return first
}

const (
	feedSubject = "gw." + gateway + ".data.feed.tick"
	outSubject  = "gw." + gateway + ".data.g.echo.points"
	callSubject = "gw." + gateway + ".cmd.g.echo.Statistics"
)

var feedPayload = []byte(`{"n":1}`)

func houseSide(dir string) (side, error) {
	var s side
	kind := actors.Define(actors.Kind{
		Name: "echo", Doc: "publishes for each message it gets", Limit: 4 * contractAhead,
		Services: []protoreflect.ServiceDescriptor{actors.Service(modbusv1.File_modbus_v1_modbus_proto, "LinkService")},
	}, func(*structpb.Struct) actors.Actor { return echo{samplesOf(30)} })
	w, err := newWorld(dir, kind)
	if err != nil {
		return s, err
	}
	cfg := forest(0, 0, "")
	g := group("g")
	g.Children = []*config.Node{{Path: "g/echo", Kind: "echo", Config: &structpb.Struct{}}}
	cfg.Root.Children = append(cfg.Root.Children, g)
	if err := w.tree.Start(cfg); err != nil {
		return s, err
	}
	conn, out := w.bus.Conn(), make(chan struct{}, contractAhead)
	if _, err := conn.Subscribe(outSubject, func(bus.Msg) { out <- struct{}{} }); err != nil {
		return s, err
	}
	s.feed, s.out = func() error { return conn.PublishRaw(feedSubject, bus.JSON, feedPayload) }, out
	s.call = func(ctx context.Context) error {
		resp := &modbusv1.StatisticsResponse{}
		err := conn.Call(ctx, callSubject, &modbusv1.StatisticsRequest{}, resp)
		if err == nil && resp.Answered != 7 {
			err = fmt.Errorf("answered with %v", resp)
		}
		return err
	}
	// The actor has subscribed only once it answers.
	return s, until("the actor answers", 5*time.Second, func() bool { return s.call(context.Background()) == nil })
}

// bareEcho does the same as echo, directly on the libraries.
type bareEcho struct {
	nc  *nats.Conn
	out *samplev1.Samples
}

type bareCall struct{ *nats.Msg }

func (e *bareEcho) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *nats.Msg:
		p, err := e.out.AppendJSON(nil)
		if err == nil {
			err = e.nc.Publish(outSubject, p)
		}
		if err != nil {
			panic(err)
		}
	case bareCall:
		req := &modbusv1.StatisticsRequest{}
		if err := protojson.Unmarshal(m.Data, req); err != nil {
			panic(err)
		}
		p, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(&modbusv1.StatisticsResponse{Answered: 7})
		if err == nil {
			err = m.Respond(p)
		}
		if err != nil {
			panic(err)
		}
	}
}

func bareSide() (side, error) {
	var s side
	srv, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true})
	if err != nil {
		return s, err
	}
	srv.Start()
	if !srv.ReadyForConnections(5 * time.Second) {
		return s, fmt.Errorf("bare nats-server is not ready")
	}
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		return s, err
	}
	sys := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet }))
	pid := sys.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return &bareEcho{nc, samplesOf(30)} }))
	out := make(chan struct{}, contractAhead)
	for subject, fn := range map[string]func(*nats.Msg){
		feedSubject: func(m *nats.Msg) { sys.Root.Send(pid, m) },
		callSubject: func(m *nats.Msg) { sys.Root.Send(pid, bareCall{m}) },
		outSubject:  func(*nats.Msg) { out <- struct{}{} },
	} {
		if _, err := nc.Subscribe(subject, fn); err != nil {
			return s, err
		}
	}
	s.feed, s.out = func() error { return nc.Publish(feedSubject, feedPayload) }, out
	s.call = func(ctx context.Context) error {
		p, err := protojson.Marshal(&modbusv1.StatisticsRequest{})
		if err != nil {
			return err
		}
		m, err := nc.RequestWithContext(ctx, callSubject, p)
		if err != nil {
			return err
		}
		return protojson.Unmarshal(m.Data, &modbusv1.StatisticsResponse{})
	}
	return s, nc.Flush()
}
