// Command naive is the peer of bench: the same four libraries (protoactor, nats-server with
// JetStream, mochi, grid-x/modbus) wired in the simplest way that works, as one would on the first
// day. It heals nothing, checks nothing and limits nothing.
//
//	naive STOREDIR NATSPORT MQTTPORT UNITS MODBUSADDR
//
// Each unit is an actor with a connection and a ticker of its own. It reads 30 holding registers
// every second and publishes them as JSON on the bus, from where they are forwarded to the MQTT
// broker.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/grid-x/modbus"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	select {}
}

func run(args []string) error {
	if len(args) != 5 {
		return fmt.Errorf("want STOREDIR NATSPORT MQTTPORT UNITS MODBUSADDR")
	}
	natsPort, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	units, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	nc, err := startBus(args[0], natsPort)
	if err != nil {
		return err
	}
	if err := startBroker(nc, "127.0.0.1:"+args[2]); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	system := actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return log }))
	system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		if _, ok := c.Message().(*actor.Started); ok {
			for i := range units {
				c.Spawn(actor.PropsFromProducer(func() actor.Actor { return &unit{number: i, addr: args[4], nc: nc} }))
			}
		}
	}))
	return nil
}

func startBus(dir string, port int) (*nats.Conn, error) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true, JetStream: true, StoreDir: dir})
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return nil, fmt.Errorf("nats-server is not ready")
	}
	nc, err := nats.Connect("", nats.InProcessServer(s))
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	_, err = js.CreateOrUpdateStream(context.Background(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"event.>"}, MaxBytes: 64 << 20})
	return nc, err
}

// allow permits everything to everybody.
type allow struct{ mochi.HookBase }

func (*allow) Provides(b byte) bool { return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck }

func (*allow) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }

func (*allow) OnACLCheck(*mochi.Client, string, bool) bool { return true }

func startBroker(nc *nats.Conn, addr string) error {
	b := mochi.New(&mochi.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), InlineClient: true})
	if err := b.AddHook(new(allow), nil); err != nil {
		return err
	}
	if err := b.AddListener(listeners.NewTCP(listeners.Config{ID: "mqtt", Address: addr})); err != nil {
		return err
	}
	if err := b.Serve(); err != nil {
		return err
	}
	_, err := nc.Subscribe("data.>", func(m *nats.Msg) {
		_ = b.Publish(strings.ReplaceAll(m.Subject, ".", "/"), m.Data, false, 0)
	})
	return err
}

type tick struct{}

type unit struct {
	number int
	addr   string
	nc     *nats.Conn
	client modbus.Client
	seq    uint64
}

// reading is the published message.
type reading struct {
	Time     time.Time `json:"time"`
	Sequence uint64    `json:"sequence,string"`
	Samples  []sample  `json:"samples"`
}

type sample struct {
	Point  string  `json:"point"`
	Number float64 `json:"number"`
}

func (u *unit) Receive(c actor.Context) {
	switch c.Message().(type) {
	case *actor.Started:
		h := modbus.NewTCPClientHandler(u.addr)
		h.SlaveID, h.Timeout = 1, time.Second
		u.client = modbus.NewClient(h)
		self, root := c.Self(), c.ActorSystem().Root
		go func() {
			time.Sleep(time.Duration(u.number*2) * time.Millisecond)
			for range time.Tick(time.Second) {
				root.Send(self, tick{})
			}
		}()
	case tick:
		u.poll()
	}
}

func (u *unit) poll() {
	p, err := u.client.ReadHoldingRegisters(context.Background(), 0, 30)
	if err != nil {
		return
	}
	u.seq++
	r := reading{Time: time.Now(), Sequence: u.seq}
	for i := 0; i+1 < len(p); i += 2 {
		r.Samples = append(r.Samples, sample{"r" + strconv.Itoa(i/2), float64(uint16(p[i])<<8 | uint16(p[i+1]))})
	}
	text, err := json.Marshal(r)
	if err == nil {
		_ = u.nc.Publish("data.field.u"+strconv.Itoa(u.number)+".unit.points", text)
	}
}
