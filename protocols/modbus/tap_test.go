package modbus

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// heard returns a TapReader that receives all frames.
func heard(tap *Tap) *TapReader {
	e, err := tap.Listen(Filter{Unit: -1}, false)
	if err != nil {
		panic(err)
	}
	return e
}

// told returns what a tap has shown so far: direction, unit, function, mark and bytes of each
// frame.
func told(e *TapReader) (lines []string) {
	for len(e.frames) > 0 {
		f := <-e.frames
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%c%d/%d %s %x", "!><"[f.Direction], f.Unit, f.Function, f.Mark, f.Bytes)))
	}
	return lines
}

// scene is a Conn on which each request is answered by the next reply.
type scene struct {
	script
	replies [][]byte
}

func (s *scene) Write(b []byte) (int, error) {
	if len(s.replies) > 0 {
		s.answer, s.replies = append(s.answer, s.replies[0]...), s.replies[1:]
	}
	s.chunks = []byte{255, 255, 255}
	return s.script.Write(b)
}

func framed(f Framing, transaction uint16, unit uint8, pdu ...byte) []byte {
	return AppendFrame(nil, f, transaction, unit, pdu)
}

func broken(b []byte) []byte {
	b = slices.Clone(b)
	b[len(b)-4] ^= 1
	return b
}

func TestTapTellsWhatPasses(t *testing.T) {
	ask := Request{Unit: 7, Function: 3, Address: 1, Quantity: 1, Timeout: 20 * time.Millisecond}
	request := func(f Framing, id uint16) []byte { return framed(f, id, 7, 3, 0, 1, 0, 1) }
	good, foreign := []byte{3, 2, 0, 5}, []byte{3, 2, 9, 9}
	join := func(all ...[]byte) []byte { return slices.Concat(all...) }
	for name, c := range map[string]struct {
		framing   Framing
		datagrams bool
		reply     []byte
		want      string // X: the whole reply
	}{
		"rtu answer":          {RTU, false, framed(RTU, 0, 7, good...), "<7/3  X"},
		"rtu glitch":          {RTU, false, join([]byte{0, 0xff}, framed(RTU, 0, 7, good...)), "<7/3 noise 00ff|<7/3  0703020005f047"},
		"rtu refusal":         {RTU, false, framed(RTU, 0, 7, 0x83, 2), "<7/3  X"},
		"rtu crc":             {RTU, false, broken(framed(RTU, 0, 7, good...)), "<7/3 crc X"},
		"rtu half":            {RTU, false, framed(RTU, 0, 7, good...)[:4], "<7/3 short X"},
		"rtu silence":         {RTU, false, nil, "!7/3 silent"},
		"rtu another unit":    {RTU, false, framed(RTU, 0, 8, foreign...), "<8/3 stray X"},
		"ascii answer":        {ASCII, false, framed(ASCII, 0, 7, good...), "<7/3  X"},
		"ascii lrc":           {ASCII, false, broken(framed(ASCII, 0, 7, good...)), "<7/3 crc X"},
		"tcp answer":          {TCP, false, framed(TCP, 1, 7, good...), "<7/3  X"},
		"tcp silence":         {TCP, false, nil, "!7/3 silent"},
		"tcp another id":      {TCP, false, framed(TCP, 9, 7, good...), "<7/3 stray X|!0/0 lost"},
		"tcp another unit":    {TCP, false, framed(TCP, 1, 8, good...), "<8/3 stray X"},
		"tcp garbage":         {TCP, false, []byte("GET / HTTP/1.1"), "<7/3 noise X|!0/0 lost"},
		"tcp half":            {TCP, false, framed(TCP, 1, 7, good...)[:9], "<7/3 short X|!0/0 lost"},
		"stream answer":       {RTUOverTCP, false, framed(RTU, 0, 7, good...), "<7/3  X"},
		"stream crc":          {RTUOverTCP, false, broken(framed(RTU, 0, 7, good...)), "<7/3 crc X|!0/0 lost"},
		"stream another unit": {RTUOverTCP, false, framed(RTU, 0, 8, foreign...), "<8/3 stray X|!0/0 lost"},
		"stream too much":     {RTUOverTCP, false, join(framed(RTU, 0, 7, good...), []byte{1}), "<7/3 stray X|!0/0 lost"},
		"stream half":         {RTUOverTCP, false, framed(RTU, 0, 7, good...)[:3], "<7/3 short X|!0/0 lost"},
		"ascii over tcp lrc":  {ASCIIOverTCP, false, broken(framed(ASCII, 0, 7, good...)), "<7/3 crc X|!0/0 lost"},
		"datagram":            {RTUOverTCP, true, framed(RTU, 0, 7, good...), "<7/3  X"},
		"datagram crc":        {RTUOverTCP, true, broken(framed(RTU, 0, 7, good...)), "<7/3 crc X"},
		"datagram late":       {TCP, true, framed(TCP, 9, 7, good...), "<7/3 late X|!7/3 silent"},
		"datagram garbage":    {TCP, true, []byte("GET /"), "<7/3 noise X"},
	} {
		t.Run(name, func(t *testing.T) {
			tap := NewTap()
			ear := heard(tap)
			l := NewLink(&scene{replies: [][]byte{c.reply}}, c.framing, Options{Tap: tap, Datagrams: c.datagrams})
			l.transaction = 0
			_, _ = l.Do(context.Background(), ask)
			want := "!0/0 opened|>7/3  " + fmt.Sprintf("%x", request(c.framing, 1)) + "|" + strings.ReplaceAll(c.want, "X", fmt.Sprintf("%x", c.reply))
			if got := strings.Join(told(ear), "|"); got != want {
				t.Errorf("told\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// An answer that arrives too late is marked as late, on a line before the next request.
func TestTapTellsLateAnswers(t *testing.T) {
	for _, f := range []Framing{RTU, ASCII, TCP} {
		tap := NewTap()
		ear := heard(tap)
		s := &scene{}
		l := NewLink(s, f, Options{Tap: tap, Silence: time.Millisecond, Late: time.Hour})
		l.transaction = 0
		ask := Request{Unit: 7, Function: 3, Address: 1, Quantity: 1, Timeout: time.Millisecond}
		_, err := l.Do(context.Background(), ask)
		late, next := framed(f, 1, 7, 3, 2, 0, 1), framed(f, 2, 8, 3, 2, 0, 2)
		s.answer = late
		if f == TCP {
			s.answer = slices.Concat(late, next)
		} else {
			s.replies = [][]byte{next}
		}
		ask.Unit, ask.Timeout = 8, time.Second
		if _, err2 := l.Do(context.Background(), ask); err == nil || err2 != nil {
			t.Fatal(err, err2)
		}
		got := strings.Join(told(ear), "|")
		if !strings.Contains(got, fmt.Sprintf("!7/3 silent|<7/3 late %x|", late)) && !strings.Contains(got, fmt.Sprintf("<7/3 late %x|<8/3  %x", late, next)) {
			t.Errorf("%s: %s", f, got)
		}
		if n := tap.Late(); n[7] != 1 || len(n) != 1 {
			t.Errorf("%s: late %v", f, n)
		}
	}
}

// Every byte that is taken out of the input is reported to the tap, in the order of arrival.
func TestTapMissesNoByte(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tap := NewTap()
		ear := heard(tap)
		in := newInput(&script{}, nil, tap)
		read := 0 // bytes are numbered
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			switch n := rapid.IntRange(0, in.n).Draw(t, "n"); rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				for range rapid.IntRange(1, 8).Draw(t, "come") {
					in.buf[in.n] = byte(read)
					in.n++
					read++
				}
			case 1:
				in.frame(time.Now(), Good, rapid.IntRange(0, n).Draw(t, "start"), n)
			case 2:
				in.drop(n)
			case 3:
				in.tell(Short)
			}
		}
		in.drop(in.n)
		next := 0
		for len(ear.frames) > 0 {
			f := <-ear.frames
			if first := int(f.Bytes[0]); first > next {
				t.Fatalf("bytes %d to %d were not told", next, first)
			}
			next = max(next, int(f.Bytes[len(f.Bytes)-1])+1)
		}
		if next != read {
			t.Fatalf("%d bytes told of %d", next, read)
		}
	})
}

func TestRingKeepsTheLastFrames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r ring
		var model []Frame
		size := rapid.SampledFrom([]uint{ringSize, ringSizeTCP}).Draw(t, "ring")
		at := time.Now()
		for range rapid.IntRange(1, 200).Draw(t, "frames") {
			at = at.Add(time.Duration(rapid.Int64Range(0, 1e9).Draw(t, "gap")))
			f := Frame{
				At: at, Direction: Direction(rapid.IntRange(0, 2).Draw(t, "direction")), Mark: Mark(rapid.IntRange(0, int(Lost)).Draw(t, "mark")),
				Unit: rapid.Byte().Draw(t, "unit"), Function: rapid.Byte().Draw(t, "function"),
				Bytes: bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, rapid.IntRange(0, 300).Draw(t, "size")),
			}
			f.Size = len(f.Bytes)
			model = append(model, f)
			r.keep(f, size)
		}
		got := r.frames()
		if len(got) < min(len(model), int(size)/(ringHead+keptBad)) || r.end-r.begin > size {
			t.Fatalf("%d of %d frames kept", len(got), len(model))
		}
		for i, f := range got {
			want := model[len(model)-len(got)+i]
			most := keptBad
			if want.Mark == Good || want.Mark == Late {
				most = keptGood
			}
			if f.Direction != want.Direction || f.Mark != want.Mark || f.Unit != want.Unit || f.Function != want.Function || f.Size != want.Size ||
				!bytes.Equal(f.Bytes, want.Bytes[:min(most, len(want.Bytes))]) || f.At.Sub(want.At).Abs() > time.Microsecond {
				t.Fatalf("%+v, want %+v", f, want)
			}
		}
	})
}

// Many concurrent transactions on a Pipe: everything sent is reported before its answer.
func TestTapOfAPipe(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	go func() {
		buf := make([]byte, 12)
		for {
			if _, err := far.Read(buf); err != nil {
				return
			}
			if _, err := far.Write(framed(TCP, binary.BigEndian.Uint16(buf), buf[6], 3, 2, 0, buf[9])); err != nil {
				return
			}
		}
	}()
	tap := NewTap()
	ear := heard(tap)
	p := NewPipe(near, Options{Tap: tap})
	var wg sync.WaitGroup
	for i := range uint16(20) {
		wg.Go(func() {
			if _, err := p.Do(context.Background(), Request{Unit: 7, Function: 3, Address: i, Quantity: 1, Timeout: 10 * time.Second}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	open := map[uint16]bool{}
	answers := 0
	for len(ear.frames) > 0 {
		f := <-ear.frames
		switch id := uint16(0); f.Direction {
		case Sent:
			id = binary.BigEndian.Uint16(f.Bytes)
			open[id] = true
		case Received:
			id = binary.BigEndian.Uint16(f.Bytes)
			if !open[id] || f.Mark != Good {
				t.Errorf("answer %d (%s) before its request", id, f.Mark)
			}
			answers++
		}
	}
	if answers != 20 {
		t.Errorf("%d answers told", answers)
	}
}

func TestEarMissesWhatNobodyTakes(t *testing.T) {
	tap := NewTap()
	ear := heard(tap)
	for range tapReaderSize + 3 {
		tap.happened(time.Now(), Silent, 1, 3)
	}
	if n := ear.Missed(); n != 3 {
		t.Errorf("missed %d", n)
	}
	_, err := ear.Next(context.Background())
	if ear.Close(); err != nil || len(tap.readers) != 0 || len(tap.Last()) == 0 {
		t.Error(err, len(tap.readers))
	}
}

func TestListenersHearWhatTheyWant(t *testing.T) {
	pass := func(tap *Tap) {
		tap.sent(time.Now(), Good, framed(RTU, 0, 7, 3, 0, 0, 0, 1))
		tap.came(time.Now(), Good, framed(RTU, 0, 7, 0x83, 2))
		tap.sent(time.Now(), Good, framed(RTU, 0, 8, 4, 0, 0, 0, 1))
		tap.came(time.Now(), Noise, []byte{1})
		tap.sent(time.Now(), Good, framed(RTU, 0, 0, 6, 0, 0, 0, 1)) // to all units
		tap.happened(time.Now(), Lost, 0, 0)
	}
	for _, c := range []struct {
		filter Filter
		want   int
	}{
		{Filter{Unit: -1}, 6}, {Filter{Unit: 7}, 4}, {Filter{Unit: 8}, 4}, {Filter{Unit: 9}, 2}, {Filter{Unit: -1, Function: 3}, 3}, {Filter{Unit: 8, Function: 4}, 3},
	} {
		tap := NewTap()
		tap.framing = RTU
		pass(tap)
		live, err := tap.Listen(c.filter, false)
		if err != nil {
			t.Fatal(err)
		}
		all, err := tap.Listen(c.filter, true)
		if err != nil {
			t.Fatal(err)
		}
		pass(tap)
		if len(live.frames) != c.want || len(all.frames) != 2*c.want {
			t.Errorf("%+v: %d frames, with those before %d; want %d", c.filter, len(live.frames), len(all.frames), c.want)
		}
	}
}

func TestListenersAreBounded(t *testing.T) {
	tap := NewTap()
	for range maxTapReaders {
		heard(tap)
	}
	if _, err := tap.Listen(Filter{}, false); err == nil {
		t.Error("one more may listen")
	}
}

// Without listeners, a poll costs no allocation.
func TestTapAllocatesNothing(t *testing.T) {
	tap := NewTap()
	tap.opened(TCP)
	request, answer := framed(TCP, 1, 7, 3, 0, 0, 0, 30), framed(TCP, 1, 7, append([]byte{3, 60}, make([]byte, 60)...)...)
	now := time.Now()
	if n := testing.AllocsPerRun(1000, func() {
		tap.sent(now, Good, request)
		tap.came(now, Good, answer)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTap(b *testing.B) {
	tap := NewTap()
	tap.opened(TCP)
	request, answer := framed(TCP, 1, 7, 3, 0, 0, 0, 30), framed(TCP, 1, 7, append([]byte{3, 60}, make([]byte, 60)...)...)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		tap.sent(now, Good, request)
		tap.came(now, Good, answer)
	}
}
