package mqtt

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
	"pgregory.net/rapid"
)

// Resolving the aliases gives the original packets.
func TestAliasesResolveToWhatWasSent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := aliases{most: uint16(rapid.IntRange(1, 4).Draw(t, "most"))}
		resolved := map[uint16]string{}
		for range rapid.IntRange(1, 10).Draw(t, "writes") {
			var sent bytes.Buffer
			var want []packets.Packet
			for range rapid.IntRange(1, 5).Draw(t, "packets") {
				pk := packets.Packet{
					ProtocolVersion: 5, FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: byte(rapid.IntRange(0, 2).Draw(t, "qos"))},
					TopicName: fmt.Sprint("t/", rapid.IntRange(0, 6).Draw(t, "topic")), PacketID: 9,
					Payload:    bytes.Repeat([]byte{'x'}, rapid.IntRange(0, 200).Draw(t, "payload")),
					Properties: packets.Properties{ContentType: rapid.StringMatching("[a-z]{0,130}").Draw(t, "type")},
				}
				if err := pk.PublishEncode(&sent); err != nil {
					t.Fatal(err)
				}
				want = append(want, pk)
				sent.Write([]byte{0xd0, 0})
			}
			got := a.apply(sent.Bytes())
			for _, w := range want {
				end, body := packetBounds(got, 0)
				pk := packets.Packet{ProtocolVersion: 5}
				_ = pk.FixedHeader.Decode(got[0])
				pk.FixedHeader.Remaining = end - body
				if err := pk.PublishDecode(got[body:end]); err != nil {
					t.Fatal(err)
				}
				if alias := pk.Properties.TopicAlias; pk.Properties.TopicAliasFlag {
					if alias == 0 || alias > a.most {
						t.Fatalf("alias %d of %d", alias, a.most)
					}
					if pk.TopicName == "" {
						pk.TopicName = resolved[alias]
					}
					resolved[alias] = pk.TopicName
				}
				if pk.TopicName != w.TopicName || !bytes.Equal(pk.Payload, w.Payload) || pk.Properties.ContentType != w.Properties.ContentType {
					t.Fatalf("got %q %q, want %q %q", pk.TopicName, pk.Payload, w.TopicName, w.Payload)
				}
				if got = got[end:]; !bytes.HasPrefix(got, []byte{0xd0, 0}) {
					t.Fatal("what follows is gone")
				}
				got = got[2:]
			}
		}
	})
}

// An alias ends with its connection: a message that is sent again has its topic, which the library
// would have dropped by then (M28).
func TestResentMessagesHaveTheirTopic(t *testing.T) {
	tell, wait := events(t)
	s := start(t, Config{OnSession: tell})
	h := hello{id: "p", ver: 5, keep: true, props: append(expiry(60), 0x22, 0, 5)}
	p := join(t, s, h)
	p.subscribe("x", 1)
	for range 2 {
		_ = s.Publish("x", []byte("m"), false, Properties{})
	}
	if topic, _, _ := p.message(); topic != "x" {
		t.Errorf("first: topic %q", topic)
	}
	if topic, _, _ := p.message(); topic != "" {
		t.Errorf("second: topic %q, which has an alias", topic)
	}
	_ = p.Close()
	wait(SessionDisconnected)
	p = join(t, s, h)
	if topic, _, _ := p.message(); topic != "x" {
		t.Errorf("first, again: topic %q", topic)
	}
	p.message()
	plain := join(t, s, hello{id: "plain", ver: 5})
	plain.subscribe("x", 0)
	for range 2 {
		_ = s.Publish("x", []byte("m"), false, Properties{})
		if topic, _, _ := plain.message(); topic != "x" {
			t.Errorf("one that takes no aliases: topic %q", topic)
		}
	}
}

func FuzzAliases(f *testing.F) {
	f.Add([]byte{0x30, 5, 0, 1, 'a', 0, 'x', 0x32, 6, 0, 1, 'a', 0, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		a := aliases{most: 2}
		a.apply(b)
	})
}
