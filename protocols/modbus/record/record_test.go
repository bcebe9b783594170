package record_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/record"
)

const example = `modbus-record 1
# taken by hand
began 2026-03-01T12:00:05.012345Z
link field/rs485-1/line
framing rtu
weather rain
baud 19200
bits 11

0.000000 > 07030000000ac46b # unit 7: read holding registers 0+10
0.031250 < 0703 short
1 ! - silent
  # a remark
2.5 < 0703ff1234 crc
`

func TestExampleIsRead(t *testing.T) {
	r, err := record.NewReader(strings.NewReader(example))
	if err != nil {
		t.Fatal(err)
	}
	want := record.Header{
		Began: time.Date(2026, 3, 1, 12, 0, 5, 12345000, time.UTC), Link: "field/rs485-1/line", Framing: modbus.RTU, Baud: 19200, Bits: 11,
	}
	if r.Header() != want {
		t.Errorf("header %+v", r.Header())
	}
	for _, want := range []record.Entry{
		{0, modbus.Sent, []byte{7, 3, 0, 0, 0, 10, 0xc4, 0x6b}, modbus.Good, "unit 7: read holding registers 0+10"},
		{31250 * time.Microsecond, modbus.Received, []byte{7, 3}, modbus.Short, ""},
		{time.Second, modbus.Happened, nil, modbus.Silent, ""},
		{2500 * time.Millisecond, modbus.Received, []byte{7, 3, 255, 0x12, 0x34}, modbus.BadChecksum, ""},
	} {
		got, err := r.Next()
		if err != nil || !same(got, want) {
			t.Fatalf("%+v, %v; want %+v", got, err, want)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Fatal(err)
	}
}

func same(a, b record.Entry) bool {
	return a.At == b.At && a.Direction == b.Direction && a.Mark == b.Mark && a.Note == b.Note && bytes.Equal(a.Bytes, b.Bytes)
}

func TestWhatIsWrongIsSaidWithItsLine(t *testing.T) {
	head := "modbus-record 1\nframing tcp\n"
	for name, c := range map[string]struct{ text, want string }{
		"empty":                  {"", "must begin with"},
		"something else":         {"hello\n", `line 1: a recording must begin with "modbus-record 1"`},
		"another version":        {"modbus-record 2\nframing tcp\n", "must begin with"},
		"the framing is missing": {"modbus-record 1\nlink a\n0 ! - opened\n", "the framing is missing"},
		"unknown framing":        {"modbus-record 1\nframing x25\n", `line 2: framing: "x25" is not a framing`},
		"baud":                   {"modbus-record 1\nbaud -1\n", "line 2: baud"},
		"few words":              {head + "0 >\n", "line 3"},
		"time":                   {head + "1x > 00\n", `line 3: "1x" is not a time`},
		"a long time":            {head + "99999999999999999999 > 00\n", "not a time"},
		"too fine a time":        {head + "0.1234567890 > 00\n", "not a time"},
		"direction":              {head + "0 = 00\n", `"=" is not a direction`},
		"half a byte":            {head + "0 > 0\n", "line 3: bytes"},
		"mark":                   {head + "0 > 00 odd\n", `"odd" is not a mark`},
		"backwards":              {head + "2 > 00\n1.9 < 00\n", "line 4: time 1.9s is before"},
		"an endless line":        {head + "0 > " + strings.Repeat("00", 40000) + "\n", "line 3"},
		"header goes on":         {head + "0 > 00\nbaud 9600\n", "line 4"},
		"binary":                 {"\x00\xff\n", "must begin with"},
		"only whitespaces":       {head + "0 > \t \n", "line 3"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := record.NewReader(strings.NewReader(c.text))
			for err == nil {
				_, err = r.Next()
			}
			if err == io.EOF || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func entry(t *rapid.T) record.Entry {
	return record.Entry{
		At:        time.Duration(rapid.Int64Range(0, 1<<50).Draw(t, "at")),
		Direction: modbus.Direction(rapid.IntRange(0, 2).Draw(t, "direction")),
		Bytes:     rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "bytes"),
		Mark:      modbus.Mark(rapid.IntRange(0, int(modbus.Lost)).Draw(t, "mark")),
		Note:      rapid.StringMatching(`([a-z0-9+:]([ a-z0-9+:#]*[a-z0-9+:])?)?`).Draw(t, "note"),
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := record.Header{
			Began: time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "began"), 1000).UTC(), Link: "field/line",
			Framing: modbus.Framing(rapid.IntRange(0, int(modbus.ASCIIOverTCP)).Draw(t, "framing")), Transport: "serial",
			Baud: rapid.IntRange(0, 1<<30).Draw(t, "baud"), Bits: rapid.IntRange(0, 12).Draw(t, "bits"),
		}
		all := rapid.SliceOfN(rapid.Custom(entry), 0, 20).Draw(t, "entries")
		slices.SortStableFunc(all, func(a, b record.Entry) int { return int(min(max(a.At-b.At, -1), 1)) })
		var file bytes.Buffer
		w, err := record.NewWriter(&file, h)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all {
			if err := w.Write(e); err != nil {
				t.Fatal(err)
			}
		}
		text := file.String()
		r, err := record.NewReader(&file)
		if err != nil || r.Header() != h {
			t.Fatalf("%v, %+v of\n%s", err, r, text)
		}
		for _, want := range all {
			if got, err := r.Next(); err != nil || !same(got, want) {
				t.Fatalf("%+v, %v; want %+v of\n%s", got, err, want, text)
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Fatal(err)
		}
	})
}

func TestTimeNeverRunsBackInAFile(t *testing.T) {
	var file strings.Builder
	w, err := record.NewWriter(&file, record.Header{Link: "a\nb"})
	for _, at := range []time.Duration{2 * time.Second, time.Second} {
		err = errors.Join(err, w.Write(record.Entry{At: at, Direction: modbus.Sent, Bytes: []byte{1}, Note: "two\nlines"}))
	}
	want := "modbus-record 1\nlink a b\nframing rtu\n2.000000 > 01 # two lines\n2.000000 > 01 # two lines\n"
	if err != nil || file.String() != want {
		t.Errorf("%v\n%s", err, file.String())
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("modbus-record 1\nframing tcp\n0.5 < 000100000003010201 stray # x # y\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := record.NewReader(bytes.NewReader(text))
		if err != nil {
			return
		}
		var file bytes.Buffer
		w, err := record.NewWriter(&file, r.Header())
		if err != nil {
			t.Fatal(err)
		}
		var all []record.Entry
		for e, err := r.Next(); err == nil; e, err = r.Next() {
			if err := w.Write(e); err != nil {
				return // a line that becomes longer than the maximum
			}
			all = append(all, e)
		}
		again, err := record.NewReader(bytes.NewReader(file.Bytes()))
		if err != nil {
			t.Fatalf("%v: %q", err, file.Bytes())
		}
		for _, want := range all {
			want.Note = strings.TrimSpace(want.Note)
			got, err := again.Next()
			if err != nil || got.At != want.At || got.Direction != want.Direction || got.Mark != want.Mark || !bytes.Equal(got.Bytes, want.Bytes) {
				t.Fatalf("%+v, %v; want %+v of %q", got, err, want, file.Bytes())
			}
		}
	})
}
