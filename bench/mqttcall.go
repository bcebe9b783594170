package main

import (
	"context"
	"fmt"
	"time"
)

const (
	mqttCalls     = 5000
	mqttRounds    = 10
	mqttCallRatio = 1.5
)

// mqttCall is a call from an MQTT client to an actor and back, beside an echo in the bare library.
func mqttCall(ctx context.Context, b *bench) error {
	took := map[string][]time.Duration{}
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
	for range mqttRounds {
		for _, name := range []string{"gatewayd", "mochi"} {
			c := clients[name]
			for range mqttCalls / mqttRounds {
				begin := time.Now()
				if err := c.call("cmd/access/May/1", `{"identity":"x","topic":"data/a"}`); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				took[name] = append(took[name], time.Since(begin))
			}
		}
	}
	for _, q := range []float64{0.5, 0.99} {
		ours, bare := quantile(took["gatewayd"], q), quantile(took["mochi"], q)
		ratio := ours.Seconds() / bare.Seconds()
		b.say(row{
			Figure: fmt.Sprintf("call MQTT→actor→MQTT: p%.0f", 100*q), Value: fmt.Sprintf("%.0f µs", 1e6*ours.Seconds()),
			Peer: fmt.Sprintf("echo of mochi %.0f µs", 1e6*bare.Seconds()), Ratio: ratio, Limit: fmt.Sprintf("≤ %.1f", mqttCallRatio),
		}.below(ratio, mqttCallRatio))
	}
	return nil
}

// call publishes and waits for what comes back.
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
