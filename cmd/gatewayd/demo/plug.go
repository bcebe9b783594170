package demo

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"gatewayd/protocols/mqttclient"
)

// plugName is the name of the plug in its topics.
const plugName = "shellyplug-s-demo"

// plug is a Wi-Fi plug with a pump behind it, in the topics of Shelly's first generation: it
// publishes its state and measurements, and takes commands on relay/0/command.
type plug struct {
	on     bool
	energy float64 // Wmin
}

const (
	plugBeat  = 2 * time.Second
	plugAgain = 500 * time.Millisecond
)

// startPlug runs a plug that connects to broker, until stop, which waits for its end.
func startPlug(broker string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { (&plug{on: true}).run(ctx, broker) })
	return func() {
		cancel()
		done.Wait()
	}
}

// run connects to the broker until ctx ends, again whenever the connection is lost.
func (p *plug) run(ctx context.Context, broker string) {
	for begin := time.Now(); ctx.Err() == nil; {
		p.visit(ctx, broker, begin)
		select {
		case <-ctx.Done():
		case <-time.After(plugAgain):
		}
	}
}

// visit runs one connection.
func (p *plug) visit(ctx context.Context, broker string, begin time.Time) {
	commands := make(chan string, 16)
	online := plugSays("online", "true")
	online.Retain = true
	will := online
	will.Payload = []byte("false")
	patient, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	k, err := mqttclient.Dial(patient, mqttclient.Config{
		URL: "tcp://" + broker, ClientID: plugName, Will: &will,
		Subscriptions: []mqttclient.Subscription{{Filter: "shellies/" + plugName + "/relay/0/command", OnMessage: func(m mqttclient.Message) {
			select {
			case commands <- string(m.Payload):
			default:
			}
		}}},
	})
	if err != nil {
		return
	}
	defer k.Close()
	_ = k.Post(online, nil)
	for clock := time.NewTicker(plugBeat); ctx.Err() == nil && k.Open(); {
		p.tell(k, time.Since(begin).Seconds())
		select {
		case <-ctx.Done():
		case word := <-commands:
			p.on = word == "on" || word == "toggle" && !p.on
		case <-clock.C:
		}
	}
}

// tell publishes the measurements at s seconds.
func (p *plug) tell(k *mqttclient.Client, s float64) {
	state, power := "off", 0.0
	if p.on {
		state, power = "on", 340+25*math.Sin(s/11)
	}
	p.energy += power * plugBeat.Minutes()
	for _, m := range []mqttclient.Message{
		plugSays("relay/0", state), plugSays("relay/0/power", fmt.Sprintf("%.2f", power)),
		plugSays("relay/0/energy", fmt.Sprintf("%.0f", p.energy)), plugSays("temperature", fmt.Sprintf("%.2f", 31+power/50)),
	} {
		_ = k.Post(m, nil) // repeated at the next beat
	}
}

func plugSays(what, payload string) mqttclient.Message {
	return mqttclient.Message{Topic: "shellies/" + plugName + "/" + what, Payload: []byte(payload), QoS: 1}
}
