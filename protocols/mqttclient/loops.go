package mqttclient

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// guard ends a connection whose callback panics, and reports the panic.
func (k *Client) guard() {
	if p := recover(); p != nil {
		k.end(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
	}
}

// write writes packets, several at once if they are waiting, and sends a PINGREQ when nothing else
// is sent.
func (k *Client) write() {
	defer k.guard()
	beat := time.NewTicker(k.cfg.KeepAlive / 2)
	defer beat.Stop()
	for {
		select {
		case p := <-k.out:
			if err := k.flush(p); err != nil {
				k.end(fmt.Errorf("write: %w", err))
				return
			}
		case <-beat.C:
			quiet := max(k.silence(k.heard.Load()), k.silence(k.spoken.Load()))
			if quiet < k.cfg.KeepAlive/2 {
				continue
			}
			k.beat()
			if err := k.flush([]byte{packets.Pingreq << 4, 0}); err != nil {
				k.end(fmt.Errorf("write: %w", err))
				return
			}
		case <-k.done:
			return
		}
	}
}

// errGoodbye ends the writer after the last packet.
var errGoodbye = fmt.Errorf("%w: closed", ErrLost)

// flush writes p and what waits behind it. nil is the end.
func (k *Client) flush(p []byte) error {
	all, n, over := net.Buffers{}, 0, p == nil
	for !over {
		all = append(all, p)
		k.pinged(p)
		if n += len(p); n >= 64<<10 {
			break
		}
		select {
		case p = <-k.out:
			over = p == nil
			continue
		default:
		}
		break
	}
	if n > 0 {
		if err := k.conn.SetWriteDeadline(time.Now().Add(max(k.cfg.KeepAlive, pingTimeout, Slowest(n)))); err != nil {
			return err
		}
		if Slowest(n) > pingTimeout { // the broker cannot answer before it has received everything
			_ = k.conn.SetReadDeadline(time.Now().Add(k.patience()))
		}
		wrote, err := all.WriteTo(k.conn)
		k.sent.Add(uint64(wrote))
		if err != nil {
			return err
		}
		k.spoken.Store(int64(time.Since(k.began)))
	}
	if over {
		return errGoodbye
	}
	return nil
}

// patience returns how long the broker may be silent: the time in which it would have answered a
// ping sent after everything not yet acknowledged.
func (k *Client) patience() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return max(k.cfg.KeepAlive+k.cfg.KeepAlive/2+pingTimeout, Slowest(k.owed)+pingTimeout)
}

// Slowest returns how long that many bytes take at 16 kbit/s.
func Slowest(bytes int) time.Duration { return time.Duration(bytes) * time.Second / 2000 }

// silence returns the time since at.
func (k *Client) silence(at int64) time.Duration { return time.Since(k.began) - time.Duration(at) }

// read handles incoming packets until the connection ends.
func (k *Client) read(r *bufio.Reader) {
	defer k.guard()
	for {
		_ = k.conn.SetReadDeadline(time.Now().Add(k.patience()))
		p, err := k.next(r)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = errors.New("the broker no longer answers")
		}
		// With MQTT 5 a broker could give the reason, but not every one does.
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("the broker closed the connection without a reason: it is stopping, or another client uses the client id %q as well", k.cfg.ClientID)
		}
		if err == nil {
			k.heard.Store(int64(time.Since(k.began)))
			err = k.take(p)
		}
		if err != nil {
			k.end(err)
			return
		}
	}
}

// take handles a packet.
func (k *Client) take(p *packets.Packet) error {
	id := p.PacketID
	switch p.FixedHeader.Type {
	case packets.Publish:
		return k.deliver(p)
	case packets.Puback, packets.Pubcomp:
		k.settle(id, k.outcome(p))
	case packets.Pubrec:
		if err := k.outcome(p); err != nil {
			k.settle(id, err)
			return nil
		}
		if k.pendingQoS(id) == 2 {
			return k.reply(packets.Pubrel, 1, id)
		}
	case packets.Pubrel:
		k.mu.Lock()
		delete(k.doubles, id)
		k.mu.Unlock()
		return k.reply(packets.Pubcomp, 0, id)
	case packets.Suback, packets.Unsuback:
		k.settle(id, k.granted(p))
	case packets.Pingresp:
		k.alive()
	case packets.Disconnect:
		return fmt.Errorf("the broker disconnected: %w", k.refused(p, p.ReasonCode))
	}
	return nil
}

// outcome returns the broker's result of a publication.
func (k *Client) outcome(p *packets.Packet) error {
	if p.ReasonCode >= 0x80 {
		return k.refused(p, p.ReasonCode)
	}
	return nil
}

func (k *Client) granted(p *packets.Packet) error {
	for _, code := range p.ReasonCodes {
		if code >= 0x80 {
			return k.refused(p, code)
		}
	}
	return nil
}

func (k *Client) reply(kind, qos byte, id uint16) error {
	// Without a reason code the packet is the same in both versions.
	p := []byte{kind<<4 | qos<<1, 2, byte(id >> 8), byte(id)}
	select {
	case k.out <- p:
		return nil
	case <-k.done:
		return ErrLost
	}
}

// deliver passes a message to its subscriptions and then acknowledges it.
func (k *Client) deliver(p *packets.Packet) error {
	id, qos := p.PacketID, p.FixedHeader.Qos
	if qos == 2 {
		k.mu.Lock()
		again := k.doubles[id]
		k.doubles[id] = true
		k.mu.Unlock()
		if again {
			return k.reply(packets.Pubrec, 0, id)
		}
	}
	m := messageOf(p)
	k.mu.Lock()
	subscriptions := k.cfg.Subscriptions
	k.mu.Unlock()
	of := p.Properties.SubscriptionIdentifier
	for i, s := range subscriptions {
		meant := slices.Contains(of, i+1) || len(of) == 0 && Matches(s.Filter, m.Topic)
		if meant && s.OnMessage != nil && (s.Kept || !m.Retain) {
			s.OnMessage(m)
		}
	}
	switch qos {
	case 1:
		return k.reply(packets.Puback, 0, id)
	case 2:
		return k.reply(packets.Pubrec, 0, id)
	}
	return nil
}

// Matches reports whether a filter matches a topic.
func Matches(filter, topic string) bool {
	if rest, ok := strings.CutPrefix(filter, "$share/"); ok {
		_, filter, _ = strings.Cut(rest, "/")
	}
	if strings.HasPrefix(topic, "$") != strings.HasPrefix(filter, "$") {
		return false
	}
	for {
		f, filters, more := strings.Cut(filter, "/")
		if f == "#" {
			return true
		}
		t, topics, deeper := strings.Cut(topic, "/")
		if f != "+" && f != t {
			return false
		}
		if more && !deeper {
			return filters == "#" // a/# matches a as well
		}
		if !more || !deeper {
			return more == deeper
		}
		filter, topic = filters, topics
	}
}

// subscribe makes the subscriptions from index from on.
func (k *Client) subscribe(ctx context.Context, from int) error {
	k.mu.Lock()
	all := k.cfg.Subscriptions
	k.mu.Unlock()
	for i := from; i < len(all); i++ {
		if err := k.ask(ctx, i+1, all[i]); err != nil {
			return fmt.Errorf("subscribe to %s: %w", all[i].Filter, err)
		}
	}
	return nil
}

// ask makes a subscription. With its identifier the broker says which subscription a message is
// for, so that overlapping ones get it once each.
func (k *Client) ask(ctx context.Context, number int, s Subscription) error {
	w := &wait{done: make(chan error, 1)}
	id, err := k.enter(w)
	if err != nil {
		return err
	}
	p := &packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, PacketID: id}
	sub := packets.Subscription{Filter: s.Filter, Qos: s.QoS}
	if k.cfg.Version == 5 {
		sub.NoLocal = s.NoLocal
		if !s.Kept {
			sub.RetainHandling = 2
		}
		if k.numbers {
			p.Properties.SubscriptionIdentifier = []int{number}
		}
	}
	p.Filters = packets.Subscriptions{sub}
	raw, err := k.encode(p, (*packets.Packet).SubscribeEncode)
	if err != nil {
		k.forget(id)
		return err
	}
	select {
	case k.out <- raw:
	case <-k.done:
		return k.why()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
