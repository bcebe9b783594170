package modbus_test

import (
	"bytes"
	"io"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewayd/protocols/modbus"
)

// pieces is a stream that arrives in pieces.
type pieces struct{ all [][]byte }

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.all) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.all[0])
	if p.all[0] = p.all[0][n:]; len(p.all[0]) == 0 {
		p.all = p.all[1:]
	}
	return n, nil
}

func (*pieces) Write(b []byte) (int, error)      { return len(b), nil }
func (*pieces) Close() error                     { return nil }
func (*pieces) SetReadDeadline(time.Time) error  { return nil }
func (*pieces) SetWriteDeadline(time.Time) error { return nil }

// However answers and heartbeats are split into segments, the answers remain unchanged, even if
// they contain what looks like a heartbeat.
func TestHeartbeatsAreTakenOutBetweenFrames(t *testing.T) {
	beats := [][]byte{[]byte("HB"), []byte("HBX"), {0xfe, 0xfe}}
	for _, f := range []modbus.Framing{modbus.RTU, modbus.TCP, modbus.ASCII} {
		t.Run(f.String(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				var sent, want []byte
				for range rapid.IntRange(1, 6).Draw(t, "packets") {
					if rapid.Bool().Draw(t, "beat") {
						sent = append(sent, rapid.SampledFrom(beats).Draw(t, "which")...)
						continue
					}
					words := rapid.SliceOfN(rapid.SampledFrom([]byte("HBX\xfe\x00\x03")), 2, 20).Draw(t, "data")
					words = words[:len(words)&^1]
					pdu := append([]byte{3, byte(len(words))}, words...)
					frame := modbus.AppendFrame(nil, f, 1, 7, pdu)
					sent, want = append(sent, frame...), append(want, frame...)
				}
				p := &pieces{}
				for len(sent) > 0 {
					n := rapid.IntRange(1, len(sent)).Draw(t, "segment")
					p.all, sent = append(p.all, sent[:n:n]), sent[n:]
				}
				got, err := io.ReadAll(modbus.WithoutHeartbeats(p, f, beats))
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%x, want %x: %v", got, want, err)
				}
			})
		})
	}
}

func FuzzHeartbeats(f *testing.F) {
	f.Add([]byte("HB\x07\x03\x02\x00\x01\x31\x84HBX"), uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, framing uint8) {
		c := modbus.WithoutHeartbeats(&pieces{[][]byte{b}}, modbus.Framing(framing%5), [][]byte{[]byte("HB"), {0xfe}})
		if got, err := io.ReadAll(c); err != nil || len(got) > len(b) {
			t.Errorf("%x gives %x: %v", b, got, err)
		}
	})
}
