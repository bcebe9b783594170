package mqttclient

import (
	"bufio"
	"bytes"
	"testing"
)

// FuzzPacket checks that whatever a broker sends is a packet or an error, and that the content is
// within its length.
func FuzzPacket(f *testing.F) {
	for _, seed := range [][]byte{
		{0x20, 2, 0, 0}, {0x20, 3, 0, 0, 0}, {0x40, 2, 0, 1}, {0x90, 3, 0, 1, 0x80}, {0x90, 4, 0, 1, 0, 0}, {0x30, 4, 0, 1, 'a', 'x'}, {0x32, 6, 0, 1, 'a', 0, 7, 0},
		{0x62, 2, 0, 1}, {0xe0, 2, 0x8e, 0}, {0xd0, 0}, {0x50, 4, 0, 1, 0x97, 0}, {0xb0, 4, 0, 1, 0, 0},
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, raw []byte, five bool) {
		k := &Client{cfg: Config{Version: 4, Most: 1 << 16}}
		if five {
			k.cfg.Version = 5
		}
		r := bufio.NewReader(bytes.NewReader(raw))
		for {
			p, err := k.next(r)
			if err != nil {
				return
			}
			if m := messageOf(p); len(m.Payload)+len(m.Topic) > len(raw) {
				t.Fatalf("%+v of %d bytes", m, len(raw))
			}
		}
	})
}
