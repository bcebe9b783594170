package explain_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/explain"
	"gatewayd/protocols/modbus/record"
)

func TestFramesInWords(t *testing.T) {
	frame := func(f modbus.Framing, id uint16, unit uint8, pdu ...byte) []byte {
		return modbus.AppendFrame(nil, f, id, unit, pdu)
	}
	bad := func(b []byte) []byte { b[2] ^= 0x10; return b }
	for _, f := range []modbus.Framing{modbus.RTU, modbus.ASCII, modbus.TCP, modbus.RTUOverTCP} {
		var r explain.Reader
		at := time.Now()
		for _, c := range []struct {
			direction modbus.Direction
			mark      modbus.Mark
			bytes     []byte
			want      string
		}{
			{modbus.Happened, modbus.Opened, nil, "opened"},
			{modbus.Sent, modbus.Good, frame(f, 1, 7, 3, 0, 20, 0, 2), "read holding registers 20+2"},
			{modbus.Received, modbus.Good, frame(f, 1, 7, 3, 4, 0, 230, 1, 0), "read holding registers 20+2: 230 256"},
			{modbus.Sent, modbus.Good, frame(f, 2, 7, 1, 0, 0, 0, 3), "read coils 0+3"},
			{modbus.Received, modbus.Late, frame(f, 2, 7, 1, 1, 5), "read coils 0+3: 1 0 1"},
			{modbus.Sent, modbus.Good, frame(f, 3, 7, 16, 0, 9, 0, 2, 4, 0, 42, 0, 43), "write registers 9+2: 42 43"},
			{modbus.Received, modbus.Good, frame(f, 3, 7, 16, 0, 9, 0, 2), "write registers 9: done"},
			{modbus.Received, modbus.Good, frame(f, 3, 7, 0x90, 2), "exception 2: illegal data address"},
			{modbus.Sent, modbus.Good, frame(f, 4, 7, 5, 0, 1, 0xff, 0), "write coil 1: on"},
			{modbus.Sent, modbus.Good, frame(f, 5, 7, 22, 0, 1, 0, 0xf2, 0, 0x25), "mask write register 1: and 0x00f2 or 0x0025"},
			{modbus.Sent, modbus.Good, frame(f, 6, 7, 17), "report server id"},
			{modbus.Received, modbus.Good, frame(f, 6, 7, 17, 2, 0x41, 0xff), "report server id: 02 41 ff"},
			{modbus.Received, modbus.Stray, frame(f, 9, 7, 4, 2, 0, 1), "read input registers: 1"},
			{modbus.Received, modbus.Noise, []byte{1, 2, 3}, "3 bytes outside any frame"},
			{modbus.Received, modbus.Short, []byte{7, 3}, "only 2 bytes"},
			{modbus.Happened, modbus.Silent, nil, "no answer"},
			{modbus.Happened, modbus.Lost, nil, "lost"},
		} {
			at = at.Add(time.Millisecond)
			got := r.Explain(f, modbus.Frame{At: at, Direction: c.direction, Mark: c.mark, Unit: 7, Function: pduOf(f, c.bytes), Bytes: c.bytes, Size: len(c.bytes)})
			if got.Text != c.want {
				t.Errorf("%s: %q, want %q", f, got.Text, c.want)
			}
			if got.Gap != time.Millisecond && c.mark != modbus.Opened {
				t.Errorf("gap %v", got.Gap)
			}
		}
	}
	var r explain.Reader
	b := bad(frame(modbus.RTU, 0, 7, 3, 2, 0, 5))
	got := r.Explain(modbus.RTU, modbus.Frame{Direction: modbus.Received, Mark: modbus.BadChecksum, Bytes: b, Size: len(b)})
	if want := "7 bytes with checksum 47f0 instead of 82f1"; got.Text != want {
		t.Errorf("%q, want %q", got.Text, want)
	}
}

func pduOf(f modbus.Framing, b []byte) uint8 {
	pdu := modbus.Frame{Bytes: b, Size: len(b)}.PDU(f)
	if len(pdu) == 0 {
		return 0
	}
	return pdu[0] & 0x7f
}

func TestLongAnswersAreCutShort(t *testing.T) {
	var r explain.Reader
	b := modbus.AppendFrame(nil, modbus.RTU, 0, 7, append([]byte{3, 250}, make([]byte, 250)...))
	got := r.Explain(modbus.RTU, modbus.Frame{Direction: modbus.Received, Function: 3, Bytes: b[:20], Size: len(b)})
	if want := "read holding registers: 0 0 0 0 0 0 0 0 … 117 more"; got.Text != want {
		t.Errorf("%q, want %q", got.Text, want)
	}
}

// Any recording can be explained.
func TestNothingCannotBeExplained(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r explain.Reader
		for range rapid.IntRange(1, 20).Draw(t, "frames") {
			b := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "bytes")
			if len(b) > 7 {
				b[1], b[7] = rapid.SampledFrom([]byte{1, 3, 5, 6, 7, 8, 15, 16, 20, 21, 22, 23, 24, 43, 0x83}).Draw(t, "rtu"), rapid.SampledFrom([]byte{1, 3, 8, 16, 20, 23, 43}).Draw(t, "tcp")
			}
			r.Explain(modbus.Framing(rapid.IntRange(0, 4).Draw(t, "framing")), modbus.Frame{
				Direction: modbus.Direction(rapid.IntRange(0, 2).Draw(t, "direction")), Mark: modbus.Mark(rapid.IntRange(0, 9).Draw(t, "mark")),
				Unit: rapid.Byte().Draw(t, "unit"), Function: rapid.Byte().Draw(t, "function"), Bytes: b, Size: len(b) + rapid.IntRange(0, 1).Draw(t, "cut"),
			})
		}
	})
}

func TestWhatWasKeptReadsAsARecording(t *testing.T) {
	tap := modbus.NewTap()
	near, far := net.Pipe()
	defer far.Close()
	l := modbus.NewLink(near, modbus.TCP, modbus.Options{Tap: tap})
	ear, err := explain.Listen(tap, modbus.Filter{Unit: 7}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer ear.Close()
	go func() {
		q := make([]byte, 12)
		_, _ = io.ReadFull(far, q)
		_, _ = far.Write(modbus.AppendFrame(nil, modbus.TCP, uint16(q[0])<<8|uint16(q[1]), 7, append([]byte{3, 120}, make([]byte, 120)...)))
	}()
	if _, err := l.Do(t.Context(), modbus.Request{Unit: 7, Function: 3, Address: 5, Quantity: 60, Timeout: 10 * time.Second}); err != nil {
		t.Fatal(err)
	}
	const answer = "read holding registers 5+60: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 … 44 more"
	x := explain.Last(tap)
	r, err := record.NewReader(strings.NewReader("modbus-record 1\nframing " + x.Framing + "\n" + strings.Join(x.Lines, "\n")))
	if err != nil || x.Framing != "tcp" {
		t.Fatal(err)
	}
	for _, want := range []string{"opened", "unit 7: read holding registers 5+60", "unit 7: " + answer + " (129 bytes)"} {
		if e, err := r.Next(); err != nil || e.Note != want {
			t.Errorf("%q, %v; want %q", e.Note, err, want)
		}
	}
	for _, want := range []string{"opened", "read holding registers 5+60", answer} {
		if e, err := ear.Next(t.Context()); err != nil || e.Text != want || e.Gap < 0 {
			t.Errorf("%q, %v; want %q", e.Text, err, want)
		}
	}
	if x := explain.Last(nil); x.Lines != nil {
		t.Error(x)
	}
}

// The input is a sequence of frames, each preceded by its length.
func FuzzExplain(f *testing.F) {
	f.Add(uint8(modbus.RTU), []byte("\x08\x07\x03\x00\x00\x00\x02\xc4\x6d\x09\x07\x03\x04\x00\x01\x00\x02\x00\x00"))
	f.Add(uint8(modbus.TCP), []byte("\x0c\x00\x01\x00\x00\x00\x06\x07\x10\x00\x00\x00\x02"))
	f.Add(uint8(modbus.ASCII), []byte("\x11:070300000002F4\r\n"))
	f.Fuzz(func(t *testing.T, framing uint8, b []byte) {
		var r explain.Reader
		for i := 0; len(b) > 0; i++ {
			n := min(int(b[0]), len(b)-1)
			frame := b[1 : 1+n]
			b = b[1+n:]
			l := r.Explain(modbus.Framing(framing%5), modbus.Frame{
				Direction: modbus.Sent + modbus.Direction(i%2), Mark: modbus.Mark(n % 7), Unit: 7, Function: 3, Bytes: frame, Size: n + i%3,
			})
			if strings.ContainsAny(explain.Note(l), "\n\r") {
				t.Fatalf("%q is no line", l.Text)
			}
		}
	})
}
