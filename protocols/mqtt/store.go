package mqtt

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"gatewayd/protocols/access"
	"gatewayd/protocols/journal"
)

// What survives the process is in a journal:
//
//	r/<topic>                 a retained message of a client, as a PUBLISH of MQTT 5
//	s/<client id>             a stored session, as JSON
//	q/<client id>/<packet id> a message under way in it: 3 and its PUBLISH, 6 once it is released,
//	                          5 and the client's own packet id for one of QoS 2 from the client
//
// A client id contains no slash.
const (
	keyRetained = "r/"
	keySession  = "s/"
	keyQueue    = "q/"
)

// storedSession is a session without its messages.
type storedSession struct {
	User    string               `json:"user,omitempty"`
	Owner   string               `json:"owner,omitempty"` // name of the Identity
	Version byte                 `json:"version"`
	Expiry  uint32               `json:"expiry"` // seconds
	Subs    []storedSubscription `json:"subscriptions,omitempty"`
}

type storedSubscription struct {
	Filter      string `json:"filter"`
	QoS         byte   `json:"qos,omitempty"`
	NoLocal     bool   `json:"no-local,omitempty"`
	AsPublished bool   `json:"as-published,omitempty"`
	Handling    byte   `json:"handling,omitempty"`
	ID          int    `json:"id,omitempty"`
}

// store writes what must survive the process. A nil store writes nothing.
type store struct{ *journal.Journal }

func (st *store) put(key string, value []byte) {
	if st != nil {
		_ = st.Put(key, value) // a full disk shows in Stats
	}
}

func (st *store) drop(key string) {
	if st != nil {
		st.Delete(key)
	}
}

// flush is called before a client is told that its data is accepted. An error shows in Stats; the
// client is served nevertheless.
func (st *store) flush() {
	if st != nil {
		_ = st.Flush()
	}
}

func queueKey(id string, packet uint16) string { return fmt.Sprintf("%s%s/%05d", keyQueue, id, packet) }

// keepSession writes the present state of a session, if the session outlives its connection.
func (s *Server) keepSession(cl *mochi.Client) {
	c := connOf(cl)
	if s.store == nil || c == nil || endsWithConnection(cl) {
		return
	}
	m := storedSession{User: c.info.Username, Version: c.info.Version, Expiry: cl.Properties.Props.SessionExpiryInterval}
	if c.info.Identity != nil {
		m.Owner = c.info.Identity.Name
	}
	for _, sub := range cl.State.Subscriptions.GetAll() {
		m.Subs = append(m.Subs, storedSubscription{sub.Filter, sub.Qos, sub.NoLocal, sub.RetainAsPublished, sub.RetainHandling, sub.Identifier})
	}
	slices.SortFunc(m.Subs, func(a, b storedSubscription) int { return strings.Compare(a.Filter, b.Filter) })
	if b, err := json.Marshal(m); err == nil {
		s.store.put(keySession+cl.ID, b)
	}
	s.store.flush()
}

// forgetSession removes a session from the store.
func (s *Server) forgetSession(id string) {
	if s.store == nil {
		return
	}
	s.store.drop(keySession + id)
	s.forgetQueue(id)
	s.store.flush()
}

func (s *Server) forgetQueue(id string) {
	if s.store != nil {
		s.store.DeleteAll(keyQueue + id + "/")
	}
}

// keepPacket writes what is under way with a packet id in a session, or removes it if there is
// nothing.
func (s *Server) keepPacket(cl *mochi.Client, id uint16) {
	if s.store == nil || endsWithConnection(cl) {
		return
	}
	key := queueKey(cl.ID, id)
	pk, ok := cl.State.Inflight.Get(id)
	switch {
	case !ok:
		s.store.drop(key)
	case pk.FixedHeader.Type == packets.Publish:
		if b := encodeStored(&pk); b != nil {
			s.store.put(key, append([]byte{packets.Publish}, b...))
		}
	case pk.FixedHeader.Type == packets.Pubrel:
		s.store.put(key, []byte{packets.Pubrel})
	case pk.FixedHeader.Type == packets.Pubrec:
		s.keepTaken(cl, id)
	}
}

// keepTaken writes that a message of QoS 2 has been received from the client.
func (s *Server) keepTaken(cl *mochi.Client, id uint16) {
	c := connOf(cl)
	if s.store == nil || c == nil || endsWithConnection(cl) {
		return
	}
	own, ok := c.flow.own(id)
	if ok {
		s.store.put(queueKey(cl.ID, id), binary.BigEndian.AppendUint16([]byte{packets.Pubrec}, own))
	}
}

// keepRetainedMessage writes a message that a client has retained, or its removal.
func (s *Server) keepRetainedMessage(pk *packets.Packet) {
	switch {
	case s.store == nil:
	case len(pk.Payload) == 0:
		s.store.drop(keyRetained + pk.TopicName)
	default:
		if b := encodeStored(pk); b != nil {
			s.store.put(keyRetained+pk.TopicName, b)
		}
	}
}

// encodeStored encodes a PUBLISH as in MQTT 5, whatever version its client uses.
func encodeStored(pk *packets.Packet) []byte {
	out := *pk
	out.FixedHeader = packets.FixedHeader{Type: packets.Publish, Qos: pk.FixedHeader.Qos, Retain: pk.FixedHeader.Retain}
	out.ProtocolVersion = 5
	if out.FixedHeader.Qos > 0 && out.PacketID == 0 {
		out.PacketID = 1 // a retained message has no packet id
	}
	out.Mods = packets.Mods{AllowResponseInfo: true}
	var buf bytes.Buffer
	if out.PublishEncode(&buf) != nil {
		return nil
	}
	return buf.Bytes()
}

func decodeStored(b []byte) (pk packets.Packet, err error) {
	if len(b) < 2 {
		return pk, errors.New("too short")
	}
	size, n, err := variableInt(b[1:])
	if err != nil || n == 0 || len(b) != 1+n+size {
		return pk, errors.New("not a packet")
	}
	pk.ProtocolVersion = 5
	if err = pk.FixedHeader.Decode(b[0]); err != nil {
		return pk, err
	}
	pk.FixedHeader.Remaining = size
	if pk.FixedHeader.Type != packets.Publish {
		return pk, errors.New("not a publish")
	}
	defer func() { // the library's decoder is known to panic
		if p := recover(); p != nil {
			err = fmt.Errorf("undecodable: %v", p)
		}
	}()
	if err = pk.PublishDecode(b[1+n:]); err != nil {
		return pk, err
	}
	pk.Created = time.Now().Unix()
	if e := pk.Properties.MessageExpiryInterval; e > 0 {
		pk.Expiry = pk.Created + int64(e)
	}
	return pk, checkTopic(pk.TopicName)
}

// restore loads the content of the journal. Invalid entries are skipped and removed.
func (s *Server) restore() {
	if s.store == nil {
		return
	}
	bad := 0
	s.store.Each(func(key string, value []byte) { // "q/" comes before "r/" and "s/": sessions first
		if id, ok := strings.CutPrefix(key, keySession); ok && !s.restoreSession(id, value) {
			s.store.Delete(key)
			bad++
		}
	})
	s.store.Each(func(key string, value []byte) {
		ok := true
		if rest, queued := strings.CutPrefix(key, keyQueue); queued {
			ok = s.restorePacket(rest, value)
		} else if topic, retained := strings.CutPrefix(key, keyRetained); retained {
			ok = s.restoreRetained(topic, value)
		}
		if !ok {
			s.store.Delete(key)
			bad++
		}
	})
	for _, cl := range s.absent() {
		s.resumeIDs(cl)
	}
	if bad > 0 {
		s.cfg.Log.Warn("mqtt: part of the stored data cannot be used", "records", bad)
	}
}

func (s *Server) restoreSession(id string, value []byte) bool {
	var m storedSession
	if json.Unmarshal(value, &m) != nil || checkClientID(id) != nil || id == "" || m.Expiry == 0 && m.Version == 5 {
		return false
	}
	c := &conn{}
	c.guard, c.closed, c.gone = s.guard, true, true
	c.over.Store(true)
	c.left.Store(s.now())
	cl := s.broker.NewClient(nil, listenerID, id, false)
	cl.Net.Conn = c
	cl.Properties.ProtocolVersion = m.Version
	cl.Properties.Props.SessionExpiryInterval = min(m.Expiry, s.expirySeconds())
	c.client = cl
	c.info = ClientInfo{ID: id, Username: m.User, Version: m.Version, Restored: true, conn: c}
	if m.Owner != "" {
		c.info.Identity = &access.Identity{Name: m.Owner}
	}
	for _, sub := range m.Subs {
		if checkFilter(sub.Filter) != nil || sub.QoS > 2 {
			continue
		}
		p := packets.Subscription{
			Filter: sub.Filter, Qos: sub.QoS, NoLocal: sub.NoLocal, RetainAsPublished: sub.AsPublished, RetainHandling: sub.Handling, Identifier: sub.ID,
		}
		if s.broker.Topics.Subscribe(id, p) {
			atomic.AddInt64(&s.broker.Info.Subscriptions, 1)
		}
		cl.State.Subscriptions.Add(sub.Filter, p)
	}
	cl.Stop(packets.ErrServerShuttingDown)
	s.broker.Clients.Add(cl)
	return true
}

func (s *Server) restorePacket(rest string, value []byte) bool {
	client, number, _ := strings.Cut(rest, "/")
	cl, ok := s.broker.Clients.Get(client)
	var id uint16
	if _, err := fmt.Sscanf(number, "%d", &id); !ok || err != nil || id == 0 || len(value) == 0 {
		return false
	}
	pk := packets.Packet{PacketID: id, ProtocolVersion: cl.Properties.ProtocolVersion, Created: time.Now().Unix()}
	switch value[0] {
	case packets.Publish:
		var err error
		if pk, err = decodeStored(value[1:]); err != nil || pk.FixedHeader.Qos == 0 {
			return false
		}
		pk.PacketID = id
		s.sessions.queue(client, messageSize(&pk), math.MaxInt32)
	case packets.Pubrel:
		pk.FixedHeader = packets.FixedHeader{Type: packets.Pubrel, Qos: 1}
	case packets.Pubrec:
		if len(value) != 3 {
			return false
		}
		pk.FixedHeader = packets.FixedHeader{Type: packets.Pubrec}
		connOf(cl).flow.remember(id, binary.BigEndian.Uint16(value[1:]))
	default:
		return false
	}
	return cl.State.Inflight.Set(pk)
}

func (s *Server) restoreRetained(topic string, value []byte) bool {
	pk, err := decodeStored(value)
	if err != nil || pk.TopicName != topic || len(pk.Payload) == 0 || !s.sessions.retain(topic, true, s.cfg.MaxRetained) {
		return false
	}
	s.kept.take(&pk, time.Now())
	return true
}

// resumeIDs makes a client's packet ids continue from the newest message under way, so that the ids
// still show the order.
func (s *Server) resumeIDs(cl *mochi.Client) {
	var held []heldPacket
	for _, pk := range cl.State.Inflight.GetAll(false) {
		if pk.PacketID < ownIDs {
			held = append(held, heldPacket{id: pk.PacketID})
		}
	}
	if len(held) == 0 {
		return
	}
	sortByID(held)
	countTo(cl, held[len(held)-1].id)
}

// countTo makes a client assign the packet ids after id next.
func countTo(cl *mochi.Client, id uint16) {
	for range 1 << 16 {
		if next, err := cl.NextPacketID(); err != nil || uint16(next) >= id {
			return
		}
	}
}
