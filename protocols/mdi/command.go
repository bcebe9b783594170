package mdi

import (
	"fmt"
	"time"
)

// commands are the commands received in a session.
type commands struct {
	answers map[uint32]*Answer // by command id; nil: it is running
	order   []uint32           // of the answered commands, oldest first
}

// maxAnswers is how many answers are remembered, for repeated commands.
const maxAnswers = 256

// maxRunning is how many commands may run at once.
const maxRunning = 64

func (c *Client) command(now time.Time, m *Command) []Effect {
	answer, known := c.commands.answers[m.ID]
	switch {
	case answer != nil:
		return c.send(nil, now, answer)
	case known:
		return nil
	}
	if c.commands.answers == nil {
		c.commands.answers = map[uint32]*Answer{}
	}
	c.commands.answers[m.ID] = nil
	if len(c.commands.answers)-len(c.commands.order) > maxRunning {
		return c.Answer(now, m.ID, nil, fmt.Errorf("%d commands are running", maxRunning))
	}
	return []Effect{Run{m}}
}

// Answer handles the outcome of a command. It is kept in case the receiver asks again.
func (c *Client) Answer(now time.Time, id uint32, payload []byte, err error) []Effect {
	if had, known := c.commands.answers[id]; !known || had != nil {
		return nil
	}
	if err == nil && len(payload) > maxOctets {
		err = fmt.Errorf("the command was carried out, but its answer has %d octets: more than %d", len(payload), maxOctets)
	}
	a := &Answer{ID: id, Payload: payload}
	if err != nil {
		a = &Answer{ID: id, Failed: brief(err)}
	}
	c.commands.answers[id] = a
	c.commands.order = append(c.commands.order, id)
	if len(c.commands.order) > maxAnswers {
		delete(c.commands.answers, c.commands.order[0])
		c.commands.order = c.commands.order[1:]
	}
	if c.state != opened {
		return nil
	}
	return c.send(nil, now, a)
}

// brief returns an error as a text that may be sent and is not empty.
func brief(err error) string {
	text := valid(err.Error())
	if text == "" {
		return "no reason"
	}
	return valid(text[:min(len(text), 1024)])
}
