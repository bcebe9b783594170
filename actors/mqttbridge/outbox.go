package mqttbridge

import (
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/protocols/mqttbridge"
	"gatewayd/protocols/mqttclient"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

const (
	outboxType = "application/vnd.gatewayd.mqtt-outbox"
	outboxLeaf = "outbox"
	batchCount = 200 // most messages of a batch on disk
	batchBytes = 256 << 10
	keepAgain  = time.Second // pause after a failed write
)

// outbox is what is on its way to the outside broker.
type outbox struct {
	waiting []waiting // in memory, to be written to disk
	bytes   int
	keeping []byte // the batch being written; nil: none
	count   int    // its number of messages
	written uint64 // messages in all batches before it
	life    uint64 // distinguishes batches of this life from those of others
	fault   string // why the disk accepts none
	before  uint64 // messages dropped before the fault began
	sending
}

type waiting struct {
	*mqttv1.BridgeMessage
	size int // bytes
}

type again struct{} // again retries writing the batch.

// leave publishes a message on a route or writes it to disk.
func (b *bridge) leave(c *actors.Context, r *outRoute, m *mqttv1.BridgeMessage) {
	if len(m.Payload) > int(b.cfg.MaxPayload) {
		b.meter.refused++
		return
	}
	if r.Volatile {
		b.sendNow(m)
		return
	}
	size := proto.Size(m)
	if size > maxMessage {
		b.meter.refused++
		c.Log().Warn("a message is too large for the outbox", "topic", m.Topic, "bytes", size, "most", maxMessage)
		return
	}
	o := &b.outbox
	o.waiting = append(o.waiting, waiting{m, size})
	o.bytes += size
	for len(o.waiting) > int(b.cfg.Buffer) || o.bytes > maxBuffer && len(o.waiting) > 1 {
		o.bytes -= o.waiting[0].size
		o.waiting[0] = waiting{}
		o.waiting = o.waiting[1:]
		b.meter.dropped++
	}
	b.keep(c)
}

// maxMessage is the largest size of a message with its topic and properties, in bytes. A batch on
// disk holds at most 1 MiB, including its own overhead.
const maxMessage = 1<<20 - 1<<10

// maxBuffer is how many bytes may wait in memory for the disk.
const maxBuffer = 8 << 20

// sendNow publishes a volatile message; it is dropped if that is impossible now.
func (b *bridge) sendNow(m *mqttv1.BridgeMessage) {
	k := messageOf(m)
	if m.Expires != nil {
		k.Expiry = max(time.Until(m.Expires.AsTime()), time.Second)
	}
	if b.link.client == nil || b.link.client.Post(k, nil) != nil {
		b.meter.dropped++
		return
	}
	b.meter.sent(1)
}

// keep writes the waiting messages, one batch at a time.
func (b *bridge) keep(c *actors.Context) {
	o := &b.outbox
	if o.keeping != nil || len(o.waiting) == 0 {
		return
	}
	m, bytes := &mqttv1.BridgeOutbox{First: o.written, Life: o.life}, 0
	for _, w := range o.waiting[:min(len(o.waiting), batchCount)] {
		if bytes > 0 && bytes+w.size > batchBytes {
			break
		}
		bytes += w.size
		m.Messages = append(m.Messages, w.BridgeMessage)
	}
	n := len(m.Messages)
	batch, err := proto.Marshal(m)
	clear(o.waiting[:n])
	o.waiting = o.waiting[n:]
	o.bytes -= bytes
	if err != nil { // a topic that is not UTF-8
		b.meter.refused += uint64(n)
		return
	}
	o.keeping, o.count = batch, n
	o.written += uint64(n)
	c.Keep(outboxLeaf, outboxType, batch, actors.Normal, nil)
}

// kept continues when a batch is on disk, or schedules another attempt with the same bytes.
func (b *bridge) kept(c *actors.Context, m actors.Kept) {
	o := &b.outbox
	if m.Err != nil {
		if o.fault == "" {
			o.before = b.meter.dropped
		}
		_, o.fault = actors.Explain(m.Err)
		b.judge(c)
		c.After(keepAgain, again{})
		return
	}
	if o.fault != "" {
		if n := b.meter.dropped - o.before; n > 0 {
			c.Log().Warn("messages were dropped because the disk could not be written", "messages", n, "why", o.fault)
		}
		o.fault = ""
		b.judge(c)
	}
	o.keeping = nil
	b.keep(c)
}

func (b *bridge) again(c *actors.Context) {
	if b.outbox.keeping != nil {
		c.Keep(outboxLeaf, outboxType, b.outbox.keeping, actors.Normal, nil)
	}
}

func messageOf(m *mqttv1.BridgeMessage) mqttclient.Message {
	k := mqttclient.Message{Topic: m.Topic, Payload: m.Payload, QoS: byte(m.Qos), Retain: m.Retain, ContentType: m.ContentType}
	for i := 0; i+1 < len(m.User); i += 2 {
		k.User = append(k.User, [2]string{m.User[i], m.User[i+1]})
	}
	return k
}

// enqueue returns a message as it is sent on a route.
func (b *bridge) enqueue(r *outRoute, topic string, payload []byte, expiry time.Duration, user [][2]string) *mqttv1.BridgeMessage {
	m := &mqttv1.BridgeMessage{Topic: topic, Payload: payload, Qos: r.Qos}
	switch r.Retain {
	case "always":
		m.Retain = true
	case "states":
		m.Retain = strings.HasPrefix(r.LocalFilter(), "state/")
	}
	for _, u := range append(user, [2]string{mqttbridge.Via, b.name}) {
		m.User = append(m.User, u[0], u[1])
	}
	if expiry > 0 {
		m.Expires = timestamppb.New(time.Now().Add(expiry))
	}
	return m
}
