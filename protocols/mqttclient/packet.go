package mqttclient

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"gatewayd/protocols/stranger"
)

// greet sends CONNECT and reads CONNACK.
func (k *Client) greet() (*bufio.Reader, error) {
	c := k.cfg
	p := &packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, Connect: packets.ConnectParams{
		ProtocolName: []byte("MQTT"), ClientIdentifier: c.ClientID, Clean: c.Session == 0, Keepalive: uint16(c.KeepAlive / time.Second),
		UsernameFlag: c.Username != "", Username: []byte(c.Username), PasswordFlag: c.Password != "", Password: []byte(c.Password),
	}}
	if w := c.Will; w != nil {
		p.Connect.WillFlag, p.Connect.WillTopic, p.Connect.WillPayload = true, w.Topic, w.Payload
		p.Connect.WillQos, p.Connect.WillRetain, p.Connect.WillProperties = w.QoS, w.Retain, w.properties()
	}
	if c.Version == 5 {
		p.Properties = packets.Properties{MaximumPacketSize: uint32(c.Most), SessionExpiryInterval: uint32(c.Session / time.Second), SessionExpiryIntervalFlag: c.Session > 0}
	}
	raw, err := k.encode(p, (*packets.Packet).ConnectEncode)
	if err != nil {
		return nil, err
	}
	if _, err := k.conn.Write(raw); err != nil {
		return nil, err
	}
	k.sent.Add(uint64(len(raw)))
	r := bufio.NewReaderSize(k.conn, 2048)
	if err := k.strange(r); err != nil {
		return nil, err
	}
	ack, err := k.next(r)
	if err != nil {
		return nil, fmt.Errorf("no answer to CONNECT: %w", err)
	}
	if ack.FixedHeader.Type != packets.Connack {
		return nil, fmt.Errorf("%s instead of an answer to CONNECT", packets.PacketNames[ack.FixedHeader.Type])
	}
	if ack.ReasonCode != 0 {
		return nil, fmt.Errorf("CONNECT: %w", k.refused(ack, ack.ReasonCode))
	}
	k.obey(ack)
	return r, nil
}

// strange returns an error that says what answers CONNECT, if it is no broker.
func (k *Client) strange(r *bufio.Reader) error {
	first, err := r.Peek(1)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		why := "it closes the connection instead of answering CONNECT"
		if _, secure := k.conn.(*tls.Conn); !secure {
			why += "; for a broker that requires TLS write ssl:// instead of tcp://"
		}
		return errors.New(why)
	}
	if err != nil || first[0] == packets.Connack<<4 {
		return nil // reading the packet will show what it is
	}
	said, _ := r.Peek(r.Buffered())
	if who := stranger.Who(said); who != "" {
		return fmt.Errorf("%s answers there, not an MQTT broker", who)
	}
	return nil
}

// obey applies the limits of the broker.
func (k *Client) obey(ack *packets.Packet) {
	window := k.cfg.Window
	if p := ack.Properties; k.cfg.Version == 5 {
		if p.ReceiveMaximum > 0 {
			window = min(window, int(p.ReceiveMaximum))
		}
		if p.ServerKeepAliveFlag && p.ServerKeepAlive > 0 {
			k.cfg.KeepAlive = time.Duration(p.ServerKeepAlive) * time.Second
		}
		if p.MaximumQosFlag {
			k.qos = min(p.MaximumQos, 2)
		}
		k.retain = !p.RetainAvailableFlag || p.RetainAvailable == 1
		k.numbers = !p.SubIDAvailableFlag || p.SubIDAvailable == 1
		k.most = p.MaximumPacketSize
	}
	k.room = make(chan struct{}, window)
}

// refused returns the error for a reason code.
func (k *Client) refused(p *packets.Packet, code byte) error {
	why := p.Properties.ReasonString
	if why == "" {
		why = reason(k.cfg.Version, p.FixedHeader.Type, code)
	}
	return &RefusedError{code, why}
}

func reason(version int, packet, code byte) string {
	if version == 4 && packet == packets.Connack {
		said := []string{"", "unacceptable protocol version", "client id rejected", "server unavailable", "bad user name or password", "not authorized"}
		if int(code) < len(said) {
			return said[code]
		}
	}
	switch code {
	case 0x80:
		return "unspecified error"
	case 0x84:
		return "unsupported protocol version"
	case 0x85:
		return "client id not valid"
	case 0x86:
		return "bad user name or password"
	case 0x87:
		return "not authorized"
	case 0x88, 0x89:
		return "server unavailable or busy"
	case 0x8A:
		return "banned"
	case 0x8D:
		return "keep alive timeout"
	case 0x8E:
		return "session taken over"
	case 0x8F, 0x90:
		return "topic not valid"
	case 0x93, 0x96, 0x97:
		return "quota exceeded"
	case 0x95:
		return "packet too large"
	case 0x99:
		return "payload format invalid"
	}
	return fmt.Sprintf("reason code 0x%02x", code)
}

func (m *Message) properties() packets.Properties {
	p := packets.Properties{
		ContentType: m.ContentType, ResponseTopic: m.ResponseTopic, CorrelationData: m.CorrelationData, MessageExpiryInterval: uint32(m.Expiry / time.Second),
	}
	for _, u := range m.User {
		p.User = append(p.User, packets.UserProperty{Key: u[0], Val: u[1]})
	}
	return p
}

func messageOf(p *packets.Packet) Message {
	m := Message{
		Topic: p.TopicName, Payload: p.Payload, QoS: p.FixedHeader.Qos, Retain: p.FixedHeader.Retain, ContentType: p.Properties.ContentType,
		ResponseTopic: p.Properties.ResponseTopic, CorrelationData: p.Properties.CorrelationData,
		Expiry: time.Duration(p.Properties.MessageExpiryInterval) * time.Second,
	}
	for _, u := range p.Properties.User {
		m.User = append(m.User, [2]string{u.Key, u.Val})
	}
	return m
}

// ErrTopic is returned for a topic that cannot be published to.
var ErrTopic = errors.New("the topic is missing")

// ErrTooLarge is returned for a message larger than the broker accepts.
var ErrTooLarge = errors.New("larger than the broker accepts")

func (k *Client) publication(m Message, id uint16, qos byte) ([]byte, error) {
	if m.Topic == "" || strings.ContainsAny(m.Topic, "+#\x00") || len(m.Topic) > 65535 {
		return nil, fmt.Errorf("%q: %w", m.Topic, ErrTopic)
	}
	p := &packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos, Retain: m.Retain && k.retain}, PacketID: id, TopicName: m.Topic, Payload: m.Payload,
		Mods: packets.Mods{AllowResponseInfo: true},
	}
	if k.cfg.Version == 5 {
		p.Properties = m.properties()
	}
	raw, err := k.encode(p, (*packets.Packet).PublishEncode)
	if err == nil && k.most > 0 && uint64(len(raw)) > uint64(k.most) {
		err = fmt.Errorf("%d bytes: %w, which is %d", len(raw), ErrTooLarge, k.most)
	}
	return raw, err
}

func (k *Client) send(ctx context.Context, m Message, id uint16, qos byte) error {
	p, err := k.publication(m, id, qos)
	if err != nil {
		return err
	}
	select {
	case k.out <- p:
		return nil
	case <-k.done:
		return k.why()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// offer queues a packet if there is room.
func (k *Client) offer(p []byte) error {
	select {
	case <-k.done:
		return k.why()
	default:
	}
	select {
	case k.out <- p:
		return nil
	default:
		return fmt.Errorf("%d packets are waiting", waiting)
	}
}

func (k *Client) encode(p *packets.Packet, by func(*packets.Packet, *bytes.Buffer) error) ([]byte, error) {
	p.ProtocolVersion = byte(k.cfg.Version)
	var b bytes.Buffer
	b.Grow(len(p.Payload) + len(p.TopicName) + 32)
	err := by(p, &b)
	return b.Bytes(), err
}

// next reads one packet.
func (k *Client) next(r *bufio.Reader) (*packets.Packet, error) {
	head, err := r.ReadByte()
	if err != nil {
		return nil, err
	}
	p := &packets.Packet{ProtocolVersion: byte(k.cfg.Version)}
	if err := p.FixedHeader.Decode(head); err != nil {
		return nil, fmt.Errorf("invalid packet: %w", err)
	}
	n, size, err := packets.DecodeLength(r)
	if err != nil {
		return nil, fmt.Errorf("packet length: %w", err)
	}
	if n > k.cfg.Most {
		return nil, fmt.Errorf("a packet of %d bytes exceeds the limit of %d", n, k.cfg.Most)
	}
	p.FixedHeader.Remaining = n
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	k.received.Add(uint64(1 + size + n))
	if err := decode(p, body); err != nil {
		return nil, fmt.Errorf("%s: %w", packets.PacketNames[p.FixedHeader.Type], err)
	}
	return p, nil
}

// decode decodes the body of a packet from a broker. A panic becomes an error.
func decode(p *packets.Packet, body []byte) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("malformed: %v", r)
		}
	}()
	switch p.FixedHeader.Type {
	case packets.Connack:
		return p.ConnackDecode(body)
	case packets.Publish:
		return p.PublishDecode(body)
	case packets.Puback:
		return p.PubackDecode(body)
	case packets.Pubrec:
		return p.PubrecDecode(body)
	case packets.Pubrel:
		return p.PubrelDecode(body)
	case packets.Pubcomp:
		return p.PubcompDecode(body)
	case packets.Suback:
		return p.SubackDecode(body)
	case packets.Unsuback:
		return p.UnsubackDecode(body)
	case packets.Pingresp:
		return nil
	case packets.Disconnect:
		if p.ProtocolVersion == 5 {
			return p.DisconnectDecode(body)
		}
	}
	return errors.New("a broker must not send this packet")
}
