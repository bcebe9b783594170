package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	crowdClients  = 5000
	clientBytes   = 16 << 10
	crowdBytes    = 100 << 20
	clientsSettle = 12 * time.Second
)

// sessions is the figure "sessions": the memory of an idle client of the broker, including the
// actor of its session and its place in the store. All clients connect at the same moment.
func sessions(ctx context.Context, b *bench) error {
	each, whole := map[string]float64{}, 0.0
	var took time.Duration
	for _, name := range []string{"gatewayd", "mosquitto", "mochi"} {
		p, err := startBroker(ctx, b, name)
		if err != nil {
			return err
		}
		defer p.end()
		time.Sleep(3 * time.Second)
		before, err := p.usage()
		if err != nil {
			return err
		}
		begin := time.Now()
		all, err := allAtOnce(p.mqtt, crowdClients)
		if name == "gatewayd" {
			took = time.Since(begin)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(clientsSettle):
		}
		after, err := p.usage()
		if err != nil {
			return err
		}
		each[name] = float64(after.anon-before.anon) / float64(len(all))
		if name == "gatewayd" {
			whole = float64(after.anon)
		}
		for _, c := range all {
			_ = c.Close()
		}
	}
	b.say(row{
		Figure: fmt.Sprintf("%d idle MQTT clients: memory of each", crowdClients), Value: fmt.Sprintf("%.1f KB", each["gatewayd"]/1024),
		Peer: fmt.Sprintf("mosquitto %.1f, mochi %.1f", each["mosquitto"]/1024, each["mochi"]/1024), Ratio: each["gatewayd"] / each["mochi"], Limit: "≤ 16 KB",
	}.below(each["gatewayd"], clientBytes))
	b.say(row{
		Figure: "… the daemon with all of them", Value: fmt.Sprintf("%.0f MB", whole/(1<<20)), Limit: "≤ 100 MB",
		Note: fmt.Sprintf("all came at once and were let in within %.1f s", took.Seconds()),
	}.below(whole, crowdBytes))
	return nil
}

// allAtOnce connects n clients at the same moment, each with a persistent session. All must be
// admitted.
func allAtOnce(port, n int) ([]*mqttPeer, error) {
	all, errs := make([]*mqttPeer, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			all[i], errs[i] = dialMQTT(port, mqttLogin{id: fmt.Sprintf("idle-%05d", i), keep: true})
			if errs[i] == nil {
				errs[i] = all[i].subscribe("data/#", 1)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}
