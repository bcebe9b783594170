package mqttclient

import (
	"context"

	"github.com/mochi-mqtt/server/v2/packets"
)

// A pulse matches the broker's ping responses with the callers waiting for them. It is guarded by
// the lock of its Client.
type pulse struct {
	request []byte          // the packet sent by Ping, recognised by its address
	asked   []chan struct{} // callers of Ping whose packet waits to be written
	written []chan struct{} // in the order of the packets; nil: nobody waits for it
}

func newPulse() pulse { return pulse{request: []byte{packets.Pingreq << 4, 0}} }

// Ping sends a PINGREQ and returns when it is answered. Everything sent before, with any QoS, has
// been accepted by then, because a broker processes packets in order. The connection ends if the
// request cannot even be written until ctx ends.
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

// pinged is called for a packet about to be written. The first caller gets the first packet of
// Ping: each packet is queued behind what its caller sent before.
func (k *Client) pinged(p []byte) {
	if len(p) != 2 || &p[0] != &k.pulse.request[0] {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pulse.written = append(k.pulse.written, k.pulse.asked[0])
	k.pulse.asked = k.pulse.asked[1:]
}

// beat notes a request of the keep alive, which no caller waits for.
func (k *Client) beat() {
	k.mu.Lock()
	k.pulse.written = append(k.pulse.written, nil)
	k.mu.Unlock()
}

// alive handles a ping response.
func (k *Client) alive() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.pulse.written) == 0 {
		return // unsolicited
	}
	if heard := k.pulse.written[0]; heard != nil {
		close(heard)
	}
	k.pulse.written = k.pulse.written[1:]
}
