// Package mqttdevice is the actor kind for a device that publishes its readings by MQTT in its
// vendor's own topics and formats. The actor turns them into samples, detects stale values and an
// absent device, and sends it commands. Package protocols/sensor interprets the messages; an
// mqtt-broker or an mqtt-bridge delivers them.
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

// Kind is the actor kind mqtt-device.
var Kind = actors.Define(actors.Kind{
	Name:     "mqtt-device",
	Doc:      "Turns what a device publishes by MQTT into samples with quality, and sends it commands.",
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
	renewTime  = 5 * time.Second // a third of the lifetime of a subscription at the broker
	againTime  = time.Second     // pause after the broker could not be asked
	brokerTime = 2 * time.Second // for an answer of the broker
)

type device struct {
	cfg        *mqttv1.Device
	spec       sensor.Spec
	state      *sensor.Device
	subscribed bool // the broker has confirmed the subscription
	asked      bool // a request to the broker is under way
	sequence   map[string]uint64
	wake       *actors.Timer
	wakeAt     time.Time
	pending    map[string]*pending
}

type (
	renew struct{} // renew the subscription at the broker
	check struct{} // a value may have become stale
)

func (d *device) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case actors.Started:
		return d.start(c)
	case actors.Stopped:
		c.Tell(d.cfg.Broker, &mqtt.SubscribeRequest{Path: c.Name()})
	case renew:
		d.listen(c)
	case *mqtt.SubscribeRequest:
		d.listening(c, m)
	case *mqtt.Delivery:
		d.heard(c, m)
	case mqtt.SubscriptionLost:
		d.lost(c, m.Cause)
	case check:
		d.wakeAt = time.Time{}
		d.publish(c, d.state.Tick(time.Now()))
		d.judge(c)
	case *mqttv1.SetRequest:
		d.set(c, m)
	case *mqtt.PublishRequest:
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

// listen subscribes to the device's topics at the broker. If messages may have been missed, it also
// asks for the retained ones.
func (d *device) listen(c *actors.Context) {
	if d.asked {
		return
	}
	d.asked = true
	c.Ask(d.cfg.Broker, &mqtt.SubscribeRequest{Path: c.Name(), Filters: d.spec.Topics(), Retained: !d.subscribed}, brokerTime)
}

func (d *device) listening(c *actors.Context, m *mqtt.SubscribeRequest) {
	d.asked = false
	now := time.Now()
	if d.subscribed && m.Fresh { // the broker was restarted; all retained messages come again
		d.publish(c, d.state.ConnectionLost("the broker was restarted", now))
	}
	d.subscribed = true
	d.publish(c, d.state.ConnectionLost("", now))
	d.judge(c)
}

func (d *device) failed(c *actors.Context, m actors.Failed) {
	switch of := m.Of.(type) {
	case *mqtt.SubscribeRequest:
		_, why := actors.Explain(m.Err)
		d.asked = false
		d.lost(c, why)
	case *mqtt.PublishRequest:
		d.unsent(c, of, m.Err)
	}
}

// lost handles the loss of the broker and schedules another attempt.
func (d *device) lost(c *actors.Context, why string) {
	d.subscribed = false
	d.publish(c, d.state.ConnectionLost("broker "+d.cfg.Broker+": "+why, time.Now()))
	d.judge(c)
	c.After(againTime, renew{})
}

func (d *device) heard(c *actors.Context, m *mqtt.Delivery) {
	now := time.Now()
	d.publish(c, d.state.Receive(sensor.Message{Topic: m.Topic, Payload: m.Payload, Retained: m.Retained}, now))
	if !m.Retained {
		c.Worked()
	}
	d.judge(c)
	d.confirm(c)
}

// judge reports the health of the device and sets the timer for the next value to become stale.
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
