package mqttdevice

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/protocols/mqtt"
	"gatewayd/protocols/sensor"
	"gatewayd/schemas"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

// pending is a command that was published or is about to be.
type pending struct {
	command *sensor.Command
	value   sensor.Value
	say     *mqtt.PublishRequest
	request *actors.Request
	was     bool   // the point had that value before
	since   uint64 // number of messages with the point before the command
	sent    bool
}

// overdue is sent when the device should have confirmed the command.
type overdue struct{ *pending }

func (d *device) set(c *actors.Context, m *mqttv1.SetRequest) {
	i := slices.IndexFunc(d.spec.Commands, func(k sensor.Command) bool { return k.Name == m.Name })
	if i < 0 {
		c.Refuse(actors.Errorf(actors.NotFound, "%s has no command %q%s; its commands: %s", c.Name(), m.Name,
			schemas.DidYouMean(m.Name, d.commands()), cmp.Or(strings.Join(d.commands(), ", "), "none")))
		return
	}
	k := &d.spec.Commands[i]
	v := valueOf(m)
	payload, err := k.Render(v)
	if err != nil {
		c.Refuse(actors.Errorf(actors.InvalidArgument, "%s", err))
		return
	}
	if d.pending[k.Name] != nil {
		c.Refuse(actors.Errorf(actors.ResourceExhausted, "%s: the previous command is still in progress", k.Name))
		return
	}
	say := &mqtt.PublishRequest{Path: c.Name(), Topic: k.Topic, Payload: payload, Expiry: max(k.Timeout, time.Second)}
	p := &pending{command: k, value: v, say: say, request: c.Take()}
	if away := d.state.OfflineCause(); away != "" {
		d.end(c, p, "failed", actors.Errorf(actors.Unavailable, "%s: not sent: %s", k.Name, away))
		return
	}
	if k.Confirm >= 0 {
		p.was, p.since = d.state.Confirms(k, v, 0), d.state.Count(k.Confirm)
	}
	d.pending[k.Name] = p
	c.Ask(d.cfg.Broker, say, brokerTime)
}

func (d *device) commands() []string {
	var names []string
	for i := range d.spec.Commands {
		names = append(names, d.spec.Commands[i].Name)
	}
	return names
}

func valueOf(m *mqttv1.SetRequest) sensor.Value {
	switch v := m.Value.(type) {
	case *mqttv1.SetRequest_Flag:
		return sensor.Value{Kind: sensor.Flag, Flag: v.Flag}
	case *mqttv1.SetRequest_Number:
		return sensor.Value{Kind: sensor.Number, Number: v.Number}
	case *mqttv1.SetRequest_Text:
		return sensor.Value{Kind: sensor.Text, Text: v.Text}
	}
	return sensor.Value{}
}

// sayer returns the command that a publication belongs to.
func (d *device) sayer(m *mqtt.PublishRequest) *pending {
	for _, p := range d.pending {
		if p.say == m {
			return p
		}
	}
	return nil
}

// sent continues when the broker has accepted the command.
func (d *device) sent(c *actors.Context, m *mqtt.PublishRequest) {
	p := d.sayer(m)
	switch {
	case p == nil:
		return
	case p.command.Confirm < 0:
		d.end(c, p, "sent", nil)
		return
	}
	p.sent = true
	c.After(p.command.Timeout, overdue{p})
	d.confirm(c)
}

// unsent ends a command that the broker did not accept or did not confirm.
func (d *device) unsent(c *actors.Context, m *mqtt.PublishRequest, err error) {
	p := d.sayer(m)
	if p == nil {
		return
	}
	code, why := actors.Explain(err)
	if code == actors.DeadlineExceeded {
		d.end(c, p, "unsure", actors.Errorf(actors.DeadlineExceeded, "%s: the broker did not answer: the command may or may not have been carried out", p.command.Name))
		return
	}
	d.end(c, p, "failed", actors.Errorf(actors.Unavailable, "%s: not sent: %s", p.command.Name, why))
}

// confirm ends the commands that the device has confirmed.
func (d *device) confirm(c *actors.Context) {
	for _, p := range d.pending {
		if p.sent && d.state.Confirms(p.command, p.value, p.since+1) {
			d.end(c, p, "confirmed", nil)
		}
	}
}

func (d *device) overdue(c *actors.Context, m overdue) {
	k := m.command
	switch {
	case d.pending[k.Name] != m.pending:
		return
	case m.was && d.state.Confirms(k, m.value, 0):
		d.end(c, m.pending, "unchanged", nil)
	default:
		d.end(c, m.pending, "unsure", actors.Errorf(actors.DeadlineExceeded,
			"%s: %s is still %s after %s: the command may or may not have been carried out", k.Name, d.spec.Points[k.Confirm].Name, d.state.Text(k.Confirm), k.Timeout))
	}
}

// end answers the caller and publishes the event.
func (d *device) end(c *actors.Context, p *pending, outcome string, err error) {
	delete(d.pending, p.command.Name)
	p.request.OwnEvent()
	cause := ""
	if err != nil {
		_, cause = actors.Explain(err)
		p.request.Refuse(err)
	} else {
		p.request.Reply(&mqttv1.SetResponse{Outcome: outcome})
	}
	w := p.request.Caller()
	c.Event("commanded", &mqttv1.Commanded{
		Time: timestamppb.Now(), Caller: w.Identity, Trace: w.Trace, Name: p.command.Name, Payload: string(p.say.Payload),
		Outcome: outcome, Cause: cause,
	})
}
