// Package mqttdevice is the actor type for a device that publishes its readings by
// MQTT, in topics and words of its own maker: it makes samples of them, knows when
// they have grown old and whether the device is there, and tells it to switch. What
// messages mean is package protocols/sensor's business; who brings them is an
// mqtt-broker or an mqtt-bridge.
package mqttdevice

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/actors"
	"gatewayd/protocols/mqtt"
	"gatewayd/protocols/sensor"
	"gatewayd/schemas"
	mqttv1 "gatewayd/schemas/mqtt/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

// Kind is all this package shows the gateway.
var Kind = actors.Define(actors.Kind{
	Name:     "mqtt-device",
	Doc:      "Makes samples of what a device publishes by MQTT, with their quality, and tells it to switch.",
	Services: []protoreflect.ServiceDescriptor{actors.Service(mqttv1.File_mqtt_v1_device_proto, "DeviceService")},
	Publishes: []actors.Leaf{
		{Class: "data", Leaf: "*", Message: &samplev1.Samples{}},
		{Class: "event", Leaf: "commanded", Message: &mqttv1.Commanded{}},
	},
	Complete: complete,
	Check: func(config proto.Message) []schemas.Violation {
		_, bad := specOf(config.(*mqttv1.Device))
		return bad
	},
}, func(cfg *mqttv1.Device) actors.Actor { return &device{cfg: cfg} })

const (
	renewTime  = 5 * time.Second // a third of what the broker gives
	againTime  = time.Second     // after it could not be asked
	brokerTime = 2 * time.Second // for it to answer
)

type device struct {
	cfg      *mqttv1.Device
	spec     sensor.Spec
	state    *sensor.Device
	hears    bool // the broker has said so
	asked    bool // it is asked, and has not answered
	sequence map[string]uint64
	wake     *actors.Timer
	wakeAt   time.Time
	pending  map[string]*pending
}

type (
	renew struct{} // ask the broker for messages, again
	check struct{} // something may have grown old
)

func (d *device) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case actors.Started:
		return d.start(c)
	case actors.Stopped:
		c.Tell(d.cfg.Broker, &mqtt.Hear{Path: c.Name()})
	case renew:
		d.listen(c)
	case *mqtt.Hear:
		d.listening(c, m)
	case *mqtt.Heard:
		d.heard(c, m)
	case mqtt.Lost:
		d.lost(c, m.Cause)
	case check:
		d.wakeAt = time.Time{}
		d.publish(c, d.state.Tick(time.Now()))
		d.judge(c)
	case *mqttv1.SetRequest:
		d.set(c, m)
	case *mqtt.Say:
		d.sent(c, m)
	case overdue:
		d.overdue(c, m)
	case actors.Failed:
		d.failed(c, m)
	}
	return nil
}

func (d *device) start(c *actors.Context) error {
	spec, bad := specOf(d.cfg)
	if len(bad) > 0 {
		return actors.Broken(bad[0])
	}
	d.spec, d.state = spec, sensor.NewDevice(spec, time.Now())
	d.sequence, d.pending = map[string]uint64{}, map[string]*pending{}
	c.Every(renewTime, renew{})
	return nil
}

// listen asks for what the device publishes. After a time in which something may
// have been missed what is retained shall come as well.
func (d *device) listen(c *actors.Context) {
	if d.asked {
		return
	}
	d.asked = true
	c.Ask(d.cfg.Broker, &mqtt.Hear{Path: c.Name(), Filters: d.spec.Topics(), Retained: !d.hears}, brokerTime)
}

func (d *device) listening(c *actors.Context, m *mqtt.Hear) {
	d.asked = false
	now := time.Now()
	if d.hears && m.Fresh { // it was down, and all that is retained comes again
		d.publish(c, d.state.Lose("the broker has begun anew", now))
	}
	d.hears = true
	d.publish(c, d.state.Lose("", now))
	d.judge(c)
}

func (d *device) failed(c *actors.Context, m actors.Failed) {
	switch of := m.Of.(type) {
	case *mqtt.Hear:
		_, why := actors.Explain(m.Err)
		d.asked = false
		d.lost(c, why)
	case *mqtt.Say:
		d.unsent(c, of, m.Err)
	}
}

// lost notes that nothing comes any more, and asks again.
func (d *device) lost(c *actors.Context, why string) {
	d.hears = false
	d.publish(c, d.state.Lose("broker "+d.cfg.Broker+": "+why, time.Now()))
	d.judge(c)
	c.After(againTime, renew{})
}

func (d *device) heard(c *actors.Context, m *mqtt.Heard) {
	now := time.Now()
	d.publish(c, d.state.Hear(sensor.Message{Topic: m.Topic, Payload: m.Payload, Retained: m.Retained}, now))
	if !m.Retained {
		c.Worked()
	}
	d.judge(c)
	d.confirm(c)
}

// judge says how the device is, and sees to it that what grows old is noticed.
func (d *device) judge(c *actors.Context) {
	now := time.Now()
	switch health, why := d.state.Health(now); health {
	case sensor.Well:
		c.OK()
	case sensor.Struggling:
		c.Degraded(why)
	default:
		c.Unreachable(why)
	}
	at := d.state.Due(now)
	if at.IsZero() || !d.wakeAt.IsZero() && !at.Before(d.wakeAt) {
		return
	}
	d.wake.Stop()
	d.wakeAt = at
	d.wake = c.After(at.Sub(now), check{})
}
