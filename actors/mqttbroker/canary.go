package mqttbroker

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"time"

	"gatewayd/actors"
	"gatewayd/protocols/crowd"
)

const (
	canaryEvery    = 10 * time.Second
	canaryTime     = 5 * time.Second
	canaryTolerate = 3 // consecutive failures before the actor fails
)

type (
	due        struct{}
	canaryDone struct{ err error } // nil: the run succeeded
)

// try starts a canary run: a client that comes in through the broker's own listener.
func (b *broker) try(c *actors.Context) {
	b.relist(c)
	b.reconcile(c)
	if n := b.server.Stats().Connections; n >= int(b.cfg.MaxClients) {
		c.Degraded(fmt.Sprintf("the limit of clients is reached: max-clients = %d", b.cfg.MaxClients))
		return
	}
	b.sweep(c)
	run := canaryRun{
		addr: b.server.Addr().String(), id: canaryName + "-" + strconv.FormatInt(time.Now().UnixNano(), 36),
		password: b.gate.canary, secure: b.cfg.Tls != nil,
	}
	c.Do(canaryTime, func(ctx context.Context) (any, error) { return canaryDone{run.roundTrip(ctx)}, nil })
}

func (b *broker) judge(c *actors.Context, m canaryDone) error {
	if m.err == nil {
		b.misses = 0
		switch lack := b.server.Stats().Store; {
		case lack != nil:
			c.Worked()
			c.Degraded("sessions and retained messages cannot be saved: " + lack.Error())
		case b.gate.Ready():
			c.OK()
		}
		return nil
	}
	if b.misses++; b.misses >= canaryTolerate {
		return actors.Wedged(fmt.Errorf("%d canary messages failed: %w", b.misses, m.err))
	}
	c.Degraded("canary: " + m.err.Error())
	return nil
}

// canaryName is the user name of the canary.
const canaryName = "canary"

// canaryRun is what a canary run needs to know.
type canaryRun struct {
	addr, id, password string
	secure             bool
}

// roundTrip acts as a client: it connects, subscribes, publishes and receives its own message, in MQTT
// 3.1.1.
func (s canaryRun) roundTrip(ctx context.Context) error {
	d, addr := crowd.Self(s.addr)
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	if s.secure {
		// The peer is this process.
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
	}
	topic := text("reply/" + s.id + "/canary")
	publication := packet(0x30, topic, []byte("tweet"))
	for _, step := range []struct {
		what       string
		send, hear []byte
	}{
		{"connect", packet(0x10, text("MQTT"), []byte{4, 0xc2, 0, 30}, text(s.id), text(canaryName), text(s.password)), []byte{0x20, 2, 0, 0}},
		{"subscribe", packet(0x82, []byte{0, 1}, topic, []byte{0}), []byte{0x90, 3, 0, 1, 0}},
		{"publish", publication, publication},
	} {
		if _, err := conn.Write(step.send); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
		heard := make([]byte, len(step.hear))
		if _, err := io.ReadFull(conn, heard); err != nil {
			return fmt.Errorf("%s: no answer: %w", step.what, err)
		}
		if !bytes.Equal(heard, step.hear) {
			return fmt.Errorf("%s: answered % x, want % x", step.what, heard, step.hear)
		}
	}
	_, err = conn.Write([]byte{0xe0, 0})
	return err
}

// packet returns an MQTT packet of less than 128 bytes.
func packet(first byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	return append([]byte{first, byte(len(body))}, body...)
}

func text(s string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...)
}
