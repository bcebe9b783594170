package mqtt

import (
	"bytes"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

func TestSniffConnect(t *testing.T) {
	good := hello{id: "abc", ver: 5}.bytes()
	old := frame(0x10, text("MQIsdp"), []byte{3, 2, 0, 60}, text("abc"))
	for name, c := range map[string]struct {
		b  []byte
		ok bool
	}{
		"nothing":            {nil, true},
		"version 5":          {good, true},
		"version 3.1":        {old, true},
		"publish":            {[]byte{0x30}, false},
		"flags":              {[]byte{0x11}, false},
		"at the limit":       {[]byte{0x10, 0x80, 0x80, 4}, true},
		"over the limit":     {[]byte{0x10, 0x81, 0x80, 4}, false},
		"open length":        {[]byte{0x10, 0xff, 0xff, 0xff}, true},
		"endless length":     {[]byte{0x10, 0xff, 0xff, 0xff, 0xff}, false},
		"too short":          {[]byte{0x10, 11}, false},
		"half a name":        {[]byte{0x10, 20, 0, 4, 'M', 'Q'}, true},
		"half a wrong name":  {[]byte{0x10, 20, 0, 4, 'M', 'R'}, false},
		"half the old name":  {[]byte{0x10, 20, 0, 6, 'M', 'Q', 'I'}, true},
		"name of no length":  {[]byte{0x10, 20, 0, 0}, false},
		"name of 64 K":       {[]byte{0x10, 20, 0xff}, false},
		"old name, new size": {[]byte{0x10, 20, 0, 4, 'M', 'Q', 'I', 's'}, false},
	} {
		if err := sniffConnect(c.b, maxConnect); (err == nil) != c.ok {
			t.Errorf("%s: %v, want ok=%v", name, err, c.ok)
		}
	}
}

// FuzzSniffConnect checks that a refusal is final however the bytes arrive, and that no CONNECT
// that the library accepts is refused.
func FuzzSniffConnect(f *testing.F) {
	f.Add(hello{id: "abc", ver: 4}.bytes())
	f.Add(hello{id: "abc", ver: 5, user: "u", will: "w"}.bytes())
	f.Add(frame(0x10, text("MQIsdp"), []byte{3, 2, 0, 60}, text("abc")))
	f.Add([]byte{0x10, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var refused error
		for n := range min(len(b), sniffLen) + 1 {
			err := sniffConnect(b[:n], maxConnect)
			if refused != nil && err == nil {
				t.Fatalf("%x: refused with %v, then taken", b[:n], refused)
			}
			refused = err
		}
		if whole := sniffConnect(b, maxConnect); (whole == nil) != (refused == nil) {
			t.Fatalf("%x: %v at once, %v in pieces", b, whole, refused)
		}
		if refused == nil || len(b) < 2 || b[0] != 0x10 {
			return
		}
		size, used, err := packets.DecodeLength(bytes.NewReader(b[1:]))
		if err != nil || used > 4 || size != len(b)-1-used || size > maxConnect {
			return
		}
		pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect, Remaining: size}}
		if pk.ConnectDecode(bytes.Clone(b[1+used:])) == nil && pk.ConnectValidate() == packets.CodeSuccess {
			t.Fatalf("%x: refused with %v, and the library takes it", b, refused)
		}
	})
}

// FuzzFlow checks that nothing is lost, duplicated or reordered within a QoS, whatever the packets.
func FuzzFlow(f *testing.F) {
	f.Add([]byte{1, 2, 3, 0, 0x40}, uint8(2))
	f.Add([]byte{0, 0, 9, 8, 7, 6}, uint8(1))
	f.Fuzz(func(t *testing.T, ids []byte, limit uint8) {
		ids = ids[:min(len(ids), 500)]
		fl := flow{limit: int(limit) + 1, holding: len(ids)%2 == 0}
		var in, out []byte
		for i, id := range ids {
			p := frame(0x30, text("t"), []byte{byte(i)})
			if id > 0 {
				p = frame(0x32, text("t"), []byte{byte(i + 1), byte(i >> 8)}, []byte{byte(i)})
			}
			in = append(in, p...)
		}
		got, err := fl.outbound(in, len(in)+1)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, got...)
		out = append(out, fl.open()...)
		for range ids {
			if fl.used > fl.limit {
				t.Fatalf("%d unacknowledged, limit %d", fl.used, fl.limit)
			}
			out = append(out, fl.credit()...)
		}
		if len(out) != len(in) || len(fl.held) != 0 || fl.bytes != 0 {
			t.Fatalf("in %d bytes, out %d, held %d", len(in), len(out), len(fl.held))
		}
	})
}
