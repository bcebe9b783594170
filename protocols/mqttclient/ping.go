package mqttclient

import (
	"context"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A pulse matches the broker's signs of life with those who wait for them. It is used with the lock of its Client.
type pulse struct {
	request []byte          // the packet of Ping, known by its address
	asked   []chan struct{} // callers of Ping whose packet waits to be written
	written []chan struct{} // in the order of the packets; nil: nobody waits
}

func newPulse() pulse { return pulse{request: []byte{packets.Pingreq << 4, 0}} }

// Ping asks the broker for a sign of life and returns when it has come: what was sent before, at whatever QoS, has been taken by then,
// for a broker takes packets in their order. The connection ends if the request cannot even be written until ctx ends.
func (k *Client) Ping(ctx context.Context) error {
	heard := make(chan struct{})
	k.mu.Lock()
	k.pulse.asked = append(k.pulse.asked, heard)
	k.mu.Unlock()
	select {
	case k.out <- k.pulse.request:
	case <-k.done:
		return k.why()
	case <-ctx.Done():
		k.end(ctx.Err())
		return ctx.Err()
	}
	select {
	case <-heard:
		return nil
	case <-k.done:
		return k.why()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pinged is told of a packet that is about to be written. The first who asked has the first packet of Ping: nobody's comes into the queue
// before what he had sent until he asked.
func (k *Client) pinged(p []byte) {
	if len(p) != 2 || &p[0] != &k.pulse.request[0] {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pulse.written = append(k.pulse.written, k.pulse.asked[0])
	k.pulse.asked = k.pulse.asked[1:]
}

// beat is told of a request that nobody waits for.
func (k *Client) beat() {
	k.mu.Lock()
	k.pulse.written = append(k.pulse.written, nil)
	k.mu.Unlock()
}

// alive is told of an answer.
func (k *Client) alive() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.pulse.written) == 0 {
		return // nobody has asked
	}
	if heard := k.pulse.written[0]; heard != nil {
		close(heard)
	}
	k.pulse.written = k.pulse.written[1:]
}
