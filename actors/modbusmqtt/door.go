// Package modbusmqtt implements the modbus-mqtt actor kind, for controllers that speak the cookie
// protocol over MQTT: each line they publish becomes a request to a unit and is answered by a line.
// The lines are handled by package protocols/teltonika, the connections by protocols/mqtt and
// protocols/mqttclient.
package modbusmqtt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/actors/mqttclientid"
	"gatewayd/protocols/backoff"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/firewall"
	"gatewayd/protocols/mqtt"
	"gatewayd/protocols/mqttclient"
	"gatewayd/protocols/teltonika"
	"gatewayd/protocols/tlsfiles"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Kind describes the modbus-mqtt actor kind.
var Kind = actors.Define(actors.Kind{
	Name: "modbus-mqtt",
	Doc:  "Answers controllers that speak the cookie protocol of Teltonika's MQTT Modbus gateway.",
	// The limit is high because requests beyond max-requests are answered with an error, which is
	// quick.
	Limit: 4096,
	Check: func(config proto.Message) []schemas.Violation {
		d := door{cfg: config.(*modbusv1.ModbusMqtt)}
		return append(schemas.Wrong("", d.sides()), schemas.Wrong("targets", d.place())...)
	},
	Beside: func(all []schemas.Actor) []schemas.Finding { return mqttclientid.Duplicates("modbus-mqtt", all) },
}, func(cfg *modbusv1.ModbusMqtt) actors.Actor { return &door{cfg: cfg} })

const (
	dialTime  = 15 * time.Second
	claimTime = 2 * time.Second
	pulseTime = 10 * time.Second
	maxWait   = time.Minute // longest pause between attempts to connect
)

type door struct {
	cfg     *modbusv1.ModbusMqtt
	targets map[target]string
	client  *mqttclient.Client // connection to an outside broker; nil: none
	open    uint32             // requests under way
	number  int                // number of that connection or of the attempt to establish it
	failed  int                // consecutive failed attempts to connect
}

// target is the destination of a request; slave 0 matches any slave id.
type target struct {
	teltonika.Target
	slave uint8
}

type (
	claim struct{} // claim the topic, at first and periodically
	pulse struct{} // check that the connection is still open
	dial  struct{} // connect to the outside broker
	lost  struct { // the connection with this number is lost
		number int
		err    error
	}
	inbox  struct{ line []byte } // a request from an outside broker
	ticket struct {              // one request on its way to a unit
		request teltonika.Request
		from    *mqtt.Incoming // nil: the request came from an outside broker
	}
)

func (d *door) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case actors.Started:
		return d.start(c)
	case claim:
		c.Ask(d.cfg.Broker, &mqtt.Claim{Topic: d.cfg.RequestTopic, Path: c.Name(), Response: d.cfg.ResponseTopic}, claimTime)
	case *mqtt.Claim:
		c.OK()
	case dial:
		d.dial(c)
	case *mqttclient.Client:
		d.connected(c, m)
	case lost:
		if d.client != nil && m.number == d.number {
			d.again(c, m.err)
		}
	case pulse: // message lost may have been dropped because the mailbox was full
		if d.client != nil && !d.client.Open() {
			d.again(c, errors.New("the connection is lost"))
		}
	case *mqtt.Incoming:
		d.serve(c, firewall.Cookie+m.Client.ID, m.Payload, m)
	case inbox:
		d.serve(c, firewall.Cookie+d.clientID(c), m.line, nil)
	case *dispatch.Transacted:
		d.served(c, m.Of.Tag.(*ticket), func(q teltonika.Request) []byte { return answer(q, &m.Result) })
	case actors.Failed:
		d.trouble(c, m)
	}
	return nil
}

func (d *door) start(c *actors.Context) error {
	if err := errors.Join(d.sides(), d.place()); err != nil {
		return actors.Broken(err)
	}
	if d.cfg.Broker != "" {
		c.Every(claimTime, claim{})
		return nil
	}
	c.Every(pulseTime, pulse{})
	d.dial(c)
	return nil
}

// sides checks that exactly one of broker and url is given.
func (d *door) sides() error {
	if (d.cfg.Broker != "") == (d.cfg.Url != "") {
		return errors.New("set either broker, an mqtt-broker of this gateway, or url, an external one")
	}
	return nil
}

// place builds the table of units by address.
func (d *door) place() error {
	d.targets = map[target]string{}
	for i, t := range d.cfg.Targets {
		at := target{teltonika.Target{Device: t.Device}, uint8(t.Slave)}
		if (t.Address == "") == (t.Device == "") {
			return fmt.Errorf("targets[%d]: set either address or device", i)
		}
		if t.Address != "" {
			var ok bool
			if at.Target, ok = teltonika.ParseTarget(t.Address); !ok {
				return fmt.Errorf("targets[%d]: address %q is not host:port", i, t.Address)
			}
		}
		if other, twice := d.targets[at]; twice {
			return fmt.Errorf("targets[%d]: slave %d of this address is already used by %s", i, t.Slave, other)
		}
		d.targets[at] = t.Unit
	}
	return nil
}

// unit returns the path of the unit that a request is for.
func (d *door) unit(q teltonika.Request) (string, bool) {
	unit, ok := d.targets[target{q.Target, q.Modbus.Unit}]
	if !ok {
		unit, ok = d.targets[target{q.Target, 0}]
	}
	return unit, ok
}

// serve handles one line. Every line is answered.
func (d *door) serve(c *actors.Context, who string, line []byte, from *mqtt.Incoming) {
	q, err := teltonika.Parse(line)
	t := &ticket{request: q, from: from}
	if err != nil {
		d.reply(c, t, q.Error(err.Error()))
		return
	}
	unit, known := d.unit(q)
	switch {
	case !known && q.Target.Device != "":
		d.reply(c, t, q.Error(teltonika.Invalid))
	case !known:
		d.reply(c, t, q.Error(teltonika.Blocked))
	case d.open >= d.cfg.MaxRequests:
		d.reply(c, t, q.Error(teltonika.TooMany))
	default:
		d.open++
		as := actors.Caller{Identity: who, Trace: c.Caller().Trace}
		if as.Trace == "" {
			as.Trace = actors.NewTrace()
		}
		c.As(as).Ask(unit, &dispatch.Transact{Request: q.Modbus, Tag: t}, q.Timeout)
	}
}

func (d *door) served(c *actors.Context, t *ticket, say func(teltonika.Request) []byte) {
	d.open--
	d.reply(c, t, say(t.request))
}

// reply publishes an answer through the broker from which its request came.
func (d *door) reply(c *actors.Context, t *ticket, line []byte) {
	if t.from != nil {
		if err := t.from.Answer(d.cfg.ResponseTopic, line); err != nil {
			c.Log().Debug("answer not sent", "client", t.from.Client.ID, "err", err)
		}
		c.Reply(mqtt.Answered{})
		return
	}
	if d.client == nil {
		return
	}
	if err := d.client.Post(mqttclient.Message{Topic: d.cfg.ResponseTopic, Payload: line, QoS: 1}, nil); err != nil {
		c.Log().Debug("answer not sent", "err", err)
	}
}

// trouble handles requests, claims and attempts to connect that have failed.
func (d *door) trouble(c *actors.Context, m actors.Failed) {
	switch of := m.Of.(type) {
	case *dispatch.Transact:
		d.served(c, of.Tag.(*ticket), func(q teltonika.Request) []byte { return q.Error(reason(m.Err)) })
	case *mqtt.Claim:
		_, why := actors.Explain(m.Err)
		c.Unreachable("broker " + d.cfg.Broker + ": " + why)
	default: // from dial
		d.again(c, m.Err)
	}
}

func (d *door) clientID(c *actors.Context) string {
	if id := d.cfg.GetLogin().GetClientId(); id != "" {
		return id
	}
	return mqttclient.IDOf(c.Gateway(), c.Name())
}

// dial connects to the outside broker.
func (d *door) dial(c *actors.Context) {
	d.number++
	l, post, number := d.cfg.GetLogin(), c.Post(), d.number
	cfg := mqttclient.Config{
		URL: d.cfg.Url, ClientID: d.clientID(c), Username: l.GetUsername(), Password: l.GetPassword(),
		TLS: tlsfiles.ClientOf(d.cfg.GetTls()),
		Subscriptions: []mqttclient.Subscription{{Filter: d.cfg.RequestTopic, OnMessage: func(m mqttclient.Message) {
			_ = post(inbox{m.Payload}) // when the mailbox is full, the message is dropped and counted
		}}},
		OnLost: func(err error) { _ = post(lost{number, err}) },
	}
	c.Do(dialTime, func(ctx context.Context) (any, error) {
		k, err := mqttclient.Dial(ctx, cfg)
		if err != nil {
			return nil, err
		}
		return k, nil
	})
}

func (d *door) connected(c *actors.Context, m *mqttclient.Client) {
	d.client = m
	if !m.Open() { // it was lost before this message arrived
		d.again(c, errors.New("the connection is lost"))
		return
	}
	d.failed = 0
	c.OK()
}

// again schedules the next attempt to connect: at once after a connection that was open, then with
// growing pauses.
func (d *door) again(c *actors.Context, err error) {
	if d.client != nil {
		c.Close(d.client)
		d.client = nil
	}
	c.Unreachable(err.Error())
	c.After(backoff.Pause(d.failed, backoff.Near, maxWait), dial{})
	d.failed++
}
