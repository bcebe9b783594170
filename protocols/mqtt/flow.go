package mqtt

import (
	"encoding/binary"
	"slices"
	"sync"
)

const unlimited = 65535 // receive maximum if the client names none (MQTT 5 §3.1.2.11.3)

// MQTT control packet types (MQTT 5 §2.1.2).
const (
	typePublish  = 3
	typePuback   = 4
	typePubrec   = 5
	typePubcomp  = 7
	typeSuback   = 9
	typeUnsuback = 11

	typeDisconnect = 14
)

const reasonIDInUse = 0x91

// ownIDs is the first of the ids that stand for packet ids of clients.
const ownIDs = 1 << 15

// flow does for one connection what the library does wrongly or not at all:
//   - Nothing is published to a client before its CONNACK, and the messages of a stored session are
//     sent in order.
//   - Messages beyond the client's receive maximum are held back (the library's own way can
//     deadlock).
//   - Packet ids of the client are mapped to ids that the library does not use for its own
//     messages.
type flow struct {
	mu      sync.Mutex
	holding bool // until the session is established
	limit   int  // receive maximum; 0 until CONNECT
	used    int
	held    []heldPacket
	bytes   int               // bytes in held
	ids     map[uint16]uint16 // library's id → client's id
	next    uint16
}

type heldPacket struct {
	id   uint16 // 0: QoS 0
	data []byte
}

// outbound returns the part of the packets in b that may be sent now. It may change ids in b in
// place.
func (f *flow) outbound(b []byte, maxHeld int) ([]byte, error) {
	var out []byte
	split := false // the result is out, and not a prefix of b
	for at := 0; at < len(b); {
		end, body := packetBounds(b, at)
		p := b[at:end]
		q, pass := f.packet(p, body-at)
		switch {
		case !pass:
			if f.bytes += len(p); f.bytes > maxHeld {
				return nil, errSlow
			}
			f.held = append(f.held, heldPacket{publishID(p, body-at), slices.Clone(p)})
			if !split {
				out, split = append(out, b[:at]...), true
			}
		case split || len(q) != len(p):
			if !split {
				out, split = append(out, b[:at]...), true
			}
			out = append(out, q...)
		}
		at = end
	}
	if split {
		return out, nil
	}
	return b, nil
}

// packet decides about one packet: hold it (false), or send it, possibly changed.
func (f *flow) packet(p []byte, body int) ([]byte, bool) {
	switch p[0] >> 4 {
	case typePublish:
		if p[0]&6 == 0 {
			return p, !f.holding
		}
		if f.holding || len(f.held) > 0 || f.used >= f.limit {
			return p, false
		}
		f.used++
	case typePuback, typePubrec, typePubcomp, typeSuback, typeUnsuback:
		return f.restore(p, body), true
	}
	return p, true
}

// restore puts the client's own packet id into an answer.
func (f *flow) restore(p []byte, body int) []byte {
	if len(p) < body+2 || len(f.ids) == 0 {
		return p
	}
	id := binary.BigEndian.Uint16(p[body:])
	own, ok := f.ids[id]
	if !ok {
		return p
	}
	binary.BigEndian.PutUint16(p[body:], own)
	if p[0]>>4 == typePubrec {
		if len(p) == body+2 || p[body+2] < 0x80 {
			return p // the id stays in use until PUBCOMP
		}
		// A repeated QoS 2 publish: it was accepted, so acknowledge it again.
		if p[body+2] == reasonIDInUse {
			return []byte{p[0], 2, p[body], p[body+1]}
		}
	}
	delete(f.ids, id)
	return p
}

// inbound returns the library's id for a packet id of the client. taken reports whether the library
// uses an id.
func (f *flow) inbound(own uint16, taken func(uint16) bool) uint16 {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, o := range f.ids {
		if o == own {
			return id
		}
	}
	if f.ids == nil {
		f.ids = make(map[uint16]uint16)
	}
	// The library counts its own ids upwards from 1: stay far away.
	for range 1 << 15 {
		f.next--
		id := f.next | ownIDs
		if _, used := f.ids[id]; !used && !taken(id) {
			f.ids[id] = own
			return id
		}
	}
	return own
}

// own returns the client's packet id for a library id.
func (f *flow) own(id uint16) (own uint16, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	own, ok = f.ids[id]
	return own, ok
}

// remember maps id to a packet id of the client.
func (f *flow) remember(id, own uint16) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ids == nil {
		f.ids = make(map[uint16]uint16)
	}
	f.ids[id] = own
}

// adopt takes over the open packet ids of the session's previous connection.
func (f *flow) adopt(old *flow) {
	old.mu.Lock()
	ids, next := old.ids, old.next
	old.ids = nil
	old.mu.Unlock()
	f.mu.Lock()
	f.ids, f.next = ids, next
	f.mu.Unlock()
}

// open ends the holding and returns what may be sent.
func (f *flow) open() []byte {
	f.holding = false
	sortByID(f.held)
	// A message that has just arrived may also be among those of the session.
	f.held = slices.CompactFunc(f.held, func(a, b heldPacket) bool {
		same := a.id != 0 && a.id == b.id
		if same {
			f.bytes -= len(b.data)
		}
		return same
	})
	return f.take()
}

// credit handles an acknowledgement and returns what may be sent.
func (f *flow) credit() []byte {
	f.used = max(f.used-1, 0)
	return f.take()
}

func (f *flow) take() []byte {
	var out []byte
	i := 0
	for ; i < len(f.held) && (f.held[i].id == 0 || f.used < f.limit); i++ {
		if f.held[i].id != 0 {
			f.used++
		}
		out = append(out, f.held[i].data...)
	}
	f.bytes -= len(out)
	if f.held = f.held[i:]; len(f.held) == 0 {
		f.held = nil
	}
	return out
}

// sortByID sorts messages by their ids. The library assigns them in turn and wraps around: the
// oldest message is the one after the widest gap. QoS 0 comes last.
func sortByID(h []heldPacket) {
	slices.SortStableFunc(h, func(a, b heldPacket) int { return int(a.id) - int(b.id) })
	zero := 0
	for zero < len(h) && h[zero].id == 0 {
		zero++
	}
	ids := h[zero:]
	start, widest := 0, uint16(0)
	for i := range ids {
		before := ids[(i+len(ids)-1)%len(ids)].id
		if gap := ids[i].id - before; gap > widest {
			start, widest = i, gap
		}
	}
	sorted := append(slices.Clone(ids[start:]), ids[:start]...)
	sorted = append(sorted, h[:zero]...)
	copy(h, sorted)
}

// packetBounds returns where the packet at b[at] ends and where its variable header begins. b holds
// whole packets.
func packetBounds(b []byte, at int) (end, body int) {
	size, n, err := variableInt(b[at+1:])
	if n == 0 || err != nil {
		return len(b), len(b)
	}
	body = at + 1 + n
	return min(body+size, len(b)), body
}

// publishID returns the packet id of a PUBLISH; 0 for QoS 0.
func publishID(p []byte, body int) uint16 {
	if p[0]&6 == 0 || len(p) < body+2 {
		return 0
	}
	at := body + 2 + int(binary.BigEndian.Uint16(p[body:]))
	if len(p) < at+2 {
		return 0
	}
	return binary.BigEndian.Uint16(p[at:])
}
