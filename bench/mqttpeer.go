package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// mqttPeer is a minimal client of MQTT 3.1.1.
type mqttPeer struct {
	net.Conn
	in  *bufio.Reader
	out *bufio.Writer
}

// mqttLogin is how a client identifies itself.
type mqttLogin struct {
	id, name, password string
	keep               bool // the session is persistent
	will               string
}

func dialMQTT(port int, as mqttLogin) (*mqttPeer, error) {
	conn, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return nil, err
	}
	return greetMQTT(conn, as)
}

func newPeer(conn net.Conn) *mqttPeer {
	return &mqttPeer{conn, bufio.NewReaderSize(conn, 512), bufio.NewWriterSize(conn, 512)}
}

// greetMQTT sends CONNECT on a connection, which it closes if it is refused.
func greetMQTT(conn net.Conn, as mqttLogin) (*mqttPeer, error) {
	p := newPeer(conn)
	_ = p.SetDeadline(time.Now().Add(2 * time.Minute))
	err := p.send(0x10, as.connect())
	if err == nil {
		var typ byte
		var body []byte
		if typ, body, err = p.packet(); err == nil && (typ != 0x20 || len(body) < 2 || body[1] != 0) {
			err = fmt.Errorf("answered with %#x % x", typ, body)
		}
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("client %s: %w", as.id, err)
	}
	return p, nil
}

// connect returns the body of a CONNECT packet.
func (as mqttLogin) connect() string {
	flags, rest := byte(0), mqttText(as.id)
	if !as.keep {
		flags |= 2
	}
	if as.will != "" {
		flags |= 4
		rest += mqttText(as.will) + mqttText("gone")
	}
	if as.name != "" {
		flags |= 0xc0
		rest += mqttText(as.name) + mqttText(as.password)
	}
	return mqttText("MQTT") + "\x04" + string([]byte{flags}) + "\x00\x00" + rest
}

func mqttText(s string) string { return string(binary.BigEndian.AppendUint16(nil, uint16(len(s)))) + s }

// send writes one packet.
func (p *mqttPeer) send(typ byte, body string) error {
	_ = p.out.WriteByte(typ)
	_, _ = p.out.Write(binary.AppendUvarint(nil, uint64(len(body))))
	_, _ = p.out.WriteString(body)
	return p.out.Flush()
}

// packet reads one packet.
func (p *mqttPeer) packet() (typ byte, body []byte, err error) {
	if typ, err = p.in.ReadByte(); err != nil {
		return 0, nil, err
	}
	n, err := binary.ReadUvarint(p.in)
	if err != nil {
		return 0, nil, err
	}
	body = make([]byte, n)
	_, err = io.ReadFull(p.in, body)
	return typ, body, err
}

func (p *mqttPeer) subscribe(filter string, qos byte) error {
	if err := p.send(0x82, "\x00\x01"+mqttText(filter)+string([]byte{qos})); err != nil {
		return err
	}
	typ, body, err := p.packet()
	if err == nil && (typ != 0x90 || len(body) < 3 || body[2] > 2) {
		err = fmt.Errorf("subscription to %s answered with %#x % x", filter, typ, body)
	}
	return err
}

// take reads n PUBLISH packets, and acknowledges those of QoS 1.
func (p *mqttPeer) take(n int, count *atomic.Int64) error {
	for n > 0 {
		typ, body, err := p.packet()
		if err != nil {
			return err
		}
		if typ>>4 != 3 {
			continue
		}
		n--
		count.Add(1)
		if typ&2 != 0 {
			at := 2 + int(binary.BigEndian.Uint16(body))
			_, _ = p.out.Write([]byte{0x40, 2, body[at], body[at+1]})
		}
		if p.in.Buffered() == 0 || n == 0 {
			if err := p.out.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// publish sends n messages, pausing while full returns true. With QoS 1 it waits for their
// acknowledgements.
func (p *mqttPeer) publish(n int, topic string, qos byte, sent *atomic.Int64, full func() bool) error {
	acks := make(chan error, 1)
	if qos > 0 {
		go func() {
			for range n {
				if _, _, err := p.packet(); err != nil {
					acks <- err
					return
				}
			}
			acks <- nil
		}()
	}
	payload := strings.Repeat("x", brokerPayload)
	for i := range n {
		if full() {
			_ = p.out.Flush()
			for full() {
				time.Sleep(50 * time.Microsecond)
			}
		}
		sent.Add(1)
		head := []byte{0x30 | qos<<1, byte(2 + len(topic) + len(payload) + 2*int(qos)), 0, byte(len(topic))}
		head = append(head, topic...)
		if qos > 0 {
			id := uint16(i%60000 + 1)
			head = append(head, byte(id>>8), byte(id))
		}
		_, _ = p.out.Write(head)
		if _, err := p.out.WriteString(payload); err != nil {
			return err
		}
		if i%8 == 7 || i == n-1 {
			if err := p.out.Flush(); err != nil {
				return err
			}
		}
	}
	if qos > 0 {
		return <-acks
	}
	return nil
}

// mochiFlag runs this process as a broker of the bare library.
const mochiFlag = "--mochi"

// echoing admits everybody, and answers what is published on cmd/… on reply/me/1.
type echoing struct {
	mochi.HookBase
	s *mochi.Server
}

func (*echoing) ID() string { return "echo" }
func (*echoing) Provides(b byte) bool {
	return b == mochi.OnPublished || b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck
}
func (*echoing) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }
func (*echoing) OnACLCheck(*mochi.Client, string, bool) bool              { return true }
func (e *echoing) OnPublished(_ *mochi.Client, pk packets.Packet) {
	if strings.HasPrefix(pk.TopicName, "cmd/") {
		_ = e.s.Publish("reply/me/1", pk.Payload, false, 0)
	}
}

func bareMochi(port string) error {
	s := mochi.New(&mochi.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)})
	if err := s.AddHook(&echoing{s: s}, nil); err != nil {
		return err
	}
	if err := s.AddListener(listeners.NewTCP(listeners.Config{ID: "tcp", Address: "127.0.0.1:" + port})); err != nil {
		return err
	}
	if err := s.Serve(); err != nil {
		return err
	}
	select {}
}
