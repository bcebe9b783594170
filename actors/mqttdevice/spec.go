package mqttdevice

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/protocols/mqtt"
	"gatewayd/protocols/sensor"
	"gatewayd/schemas"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

// defaultSilence is the default of silence.
const defaultSilence = 15 * time.Minute

var kindOf = map[string]sensor.Kind{
	"": sensor.Number, "number": sensor.Number, "integer": sensor.Integer, "flag": sensor.Flag, "text": sensor.Text,
}

// specOf returns the description of the device in a config, or what is wrong with it.
func specOf(cfg *mqttv1.Device) (spec sensor.Spec, bad []schemas.Violation) {
	wrong := func(field string, err error) { bad = append(bad, schemas.Wrong(field, err)...) }
	var err error
	spec.Silence, spec.MaxPayload = within(cfg.Silence, defaultSilence), int(cfg.MaxPayload)
	spec.Time, err = sensor.ParsePath(cfg.Time)
	wrong("time", err)
	if len(cfg.Points)+len(cfg.Availability) == 0 {
		wrong("points", fmt.Errorf("no points: set points or profile"))
	}
	for i, p := range cfg.Points {
		q, err := pointOf(cfg, p, spec.Silence)
		wrong(fmt.Sprintf("points[%d]", i), err)
		spec.Points = append(spec.Points, q)
	}
	for i, a := range cfg.Availability {
		q, err := availabilityOf(cfg, a)
		wrong(fmt.Sprintf("availability[%d]", i), err)
		spec.Availability = append(spec.Availability, q)
	}
	for i, k := range cfg.Commands {
		q, err := commandOf(cfg, k)
		wrong(fmt.Sprintf("commands[%d]", i), err)
		spec.Commands = append(spec.Commands, q)
	}
	return spec, bad
}

// within returns a duration of the config, or the given default.
func within(d *durationpb.Duration, otherwise time.Duration) time.Duration {
	if d == nil {
		return otherwise
	}
	return d.AsDuration()
}

func topicOf(cfg *mqttv1.Device, topic string) (string, error) {
	if topic == "" {
		return "", fmt.Errorf("topic is missing: set it here or for the device")
	}
	topic, err := sensor.Expand(topic, cfg.Device)
	if err == nil {
		err = mqtt.CheckForeign(topic)
	}
	return topic, err
}

func pointOf(cfg *mqttv1.Device, p *mqttv1.DevicePoint, silence time.Duration) (sensor.Point, error) {
	q := sensor.Point{
		Name: p.Name, Group: cmp.Or(p.Group, "points"), Type: kindOf[p.Type], Scale: p.Scale, Offset: p.Offset,
		On: p.On, Off: p.Off, Min: p.Min, Max: p.Max, Silence: within(p.Silence, silence), Optional: p.Optional,
	}
	if p.Decimals != nil {
		n := int(*p.Decimals)
		q.Decimals = &n
	}
	for _, text := range p.Absent {
		word, cause, _ := strings.Cut(text, "=")
		q.Absent = append(q.Absent, sensor.Sentinel{Word: word, Cause: cause})
	}
	for _, text := range p.Labels {
		number, name, _ := strings.Cut(text, "=")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return q, fmt.Errorf("label %q must begin with a number and =, like 1=running", text)
		}
		q.Labels = append(q.Labels, sensor.Label{Value: n, Text: name})
	}
	var err error
	if q.Topic, err = topicOf(cfg, cmp.Or(p.Topic, cfg.Topic)); err != nil {
		return q, err
	}
	if q.Path, err = sensor.ParsePath(p.Path); err != nil {
		return q, err
	}
	numeric := q.Type == sensor.Number || q.Type == sensor.Integer
	switch {
	case !numeric && (p.Scale != 0 || p.Offset != 0 || p.Min != nil || p.Max != nil || p.Decimals != nil || len(p.Labels) > 0):
		return q, fmt.Errorf("type %s cannot have scale, offset, min, max, decimals or labels: they are for numbers", p.Type)
	case q.Type != sensor.Flag && len(p.On)+len(p.Off) > 0:
		return q, fmt.Errorf("on and off are for flags: set type = \"flag\"")
	}
	return q, nil
}

func availabilityOf(cfg *mqttv1.Device, a *mqttv1.DeviceAvailability) (q sensor.Availability, err error) {
	q.Online, q.Offline = a.Online, a.Offline
	if q.Topic, err = topicOf(cfg, a.Topic); err != nil {
		return q, err
	}
	q.Path, err = sensor.ParsePath(a.Path)
	return q, err
}

func commandOf(cfg *mqttv1.Device, k *mqttv1.DeviceCommand) (q sensor.Command, err error) {
	q = sensor.Command{
		Name: k.Name, Payload: cmp.Or(k.Payload, sensor.Placeholder), Type: kindOf[cmp.Or(k.Type, "flag")],
		On: cmp.Or(k.On, "ON"), Off: cmp.Or(k.Off, "OFF"), Min: k.Min, Max: k.Max, Values: k.Values, Confirm: -1,
		Tolerance: k.Tolerance, Timeout: within(k.Timeout, 5*time.Second),
	}
	for i, p := range cfg.Points {
		if k.Confirm != "" && p.Name == k.Confirm {
			q.Confirm = i
		}
	}
	if k.Confirm != "" && q.Confirm < 0 {
		return q, fmt.Errorf("confirm: unknown point %q", k.Confirm)
	}
	q.Topic, err = topicOf(cfg, k.Topic)
	return q, err
}
