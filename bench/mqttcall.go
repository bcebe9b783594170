package main

import (
	"context"
	"fmt"
	"time"
)

const (
	mqttCalls     = 500 // per round
	mqttRounds    = 81
	mqttCallRatio = 1.5
)

// mqttCall is the figure "mqtt-call": a call from an MQTT client to an actor and back, beside an
// echo in the bare library.
func mqttCall(ctx context.Context, b *bench) error {
	rounds := map[string][][]time.Duration{}
	clients := map[string]*mqttPeer{}
	for _, name := range []string{"gatewayd", "mochi"} {
		p, err := startBroker(ctx, b, name)
		if err != nil {
			return err
		}
		defer p.end()
		c, err := dialMQTT(p.mqtt, mqttLogin{id: "me"})
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.subscribe("reply/me/1", 0); err != nil {
			return err
		}
		clients[name] = c
	}
	settle()
	for round := range 1 + mqttRounds {
		for _, name := range []string{"gatewayd", "mochi"} {
			took, err := clients[name].calls(mqttCalls)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if round > 0 { // the first round warms up
				rounds[name] = append(rounds[name], took)
			}
		}
	}
	for _, q := range []float64{0.5, 0.99} {
		ours, bare := quantiles(rounds["gatewayd"], q), quantiles(rounds["mochi"], q)
		ratio := ours.Seconds() / bare.Seconds()
		b.say(row{
			Figure: fmt.Sprintf("call MQTT→actor→MQTT: p%.0f", 100*q), Value: fmt.Sprintf("%.0f µs", 1e6*ours.Seconds()),
			Peer: fmt.Sprintf("echo of mochi %.0f µs", 1e6*bare.Seconds()), Ratio: ratio, Limit: fmt.Sprintf("≤ %.1f", mqttCallRatio),
		}.below(ratio, mqttCallRatio))
	}
	return nil
}

// quantiles returns the median over the rounds of their quantile q, so that a moment in which the
// machine is busy affects only one round.
func quantiles(rounds [][]time.Duration, q float64) time.Duration {
	var each []time.Duration
	for _, took := range rounds {
		each = append(each, quantile(took, q))
	}
	return median(each)
}

// calls makes n calls one after the other and returns the duration of each.
func (p *mqttPeer) calls(n int) (took []time.Duration, err error) {
	for range n {
		begin := time.Now()
		if err := p.call("cmd/access/May/1", `{"identity":"x","topic":"data/a"}`); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begin))
	}
	return took, nil
}

// call publishes a message and waits for the answer.
func (p *mqttPeer) call(topic, payload string) error {
	if err := p.send(0x30, mqttText(topic)+payload); err != nil {
		return err
	}
	typ, _, err := p.packet()
	if err == nil && typ>>4 != 3 {
		err = fmt.Errorf("answered with %#x", typ)
	}
	return err
}
