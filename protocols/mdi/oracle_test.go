package mdi

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// build makes the oracle: the C code that asn1c generates from the module, once.
var build = sync.OnceValues(func() (string, error) {
	dir := workshop
	module, _ := filepath.Abs("gatewayd-mdi.asn1")
	source, _ := filepath.Abs("testdata/oracle.c")
	for _, command := range []string{
		"asn1c -gen-PER -fwide-types -fcompound-names -pdu=Message " + module,
		"rm -f converter-sample.c",
		"gcc -w -I. -o oracle " + source + " *.c",
	} {
		c := exec.Command("sh", "-c", command)
		c.Dir = dir
		if text, err := c.CombinedOutput(); err != nil {
			return dir, &missing{string(text), err}
		}
	}
	return dir, nil
})

type missing struct {
	said string
	error
}

// workshop is where it is made.
var workshop string

func TestMain(m *testing.M) {
	var err error
	if workshop, err = os.MkdirTemp("", "mdi-oracle"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(workshop)
	os.Exit(code)
}

// oracle is one process of asn1c's code.
type oracle struct {
	in  io.WriteCloser
	out io.Reader
}

func newOracle(t testing.TB, mode string) *oracle {
	t.Helper()
	for _, p := range []string{"asn1c", "gcc"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Fatalf("%s is missing: apt-get install -y asn1c gcc libc6-dev", p)
		}
	}
	dir, err := build()
	if err != nil {
		t.Fatalf("asn1c's code: %v\n%s", err, err.(*missing).said)
	}
	c := exec.Command(filepath.Join(dir, "oracle"), mode)
	in, _ := c.StdinPipe()
	out, _ := c.StdoutPipe()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = c.Wait() })
	return &oracle{in, out}
}

// ask has one message converted; empty if asn1c cannot read it.
func (o *oracle) ask(b []byte) []byte {
	_, _ = o.in.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	var size [2]byte
	if _, err := io.ReadFull(o.out, size[:]); err != nil {
		return []byte("asn1c's code has died")
	}
	answer := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, _ = io.ReadFull(o.out, answer)
	return answer
}

var (
	texts   = rapid.OneOf(rapid.String(), rapid.Custom(func(t *rapid.T) string { return strings.Repeat("ä", rapid.IntRange(60, 70).Draw(t, "n")) }))
	rangesG = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Range {
		more := rapid.Uint16().Draw(t, "more")
		return Range{rapid.Uint32().Draw(t, "track"), min(rapid.Uint64().Draw(t, "first"), 1<<64-1-uint64(more)), more}
	}), 0, 4)
)

// messages are of all kinds.
var messages = rapid.Custom(func(t *rapid.T) Message {
	switch rapid.IntRange(0, 10).Draw(t, "kind") {
	case 0:
		return &Open{
			Version: rapid.Uint8Range(1, 255).Draw(t, "version"), Gateway: texts.Draw(t, "gateway"),
			Session: SessionID(rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "session")), Keepalive: rapid.Uint16Range(1, 3600).Draw(t, "keepalive"),
			Unsettled: rangesG.Draw(t, "ranges"),
		}
	case 1:
		return &Opened{
			Version: rapid.Uint8Range(1, 255).Draw(t, "version"), Resumed: rapid.Bool().Draw(t, "resumed"),
			Window: rapid.Uint8Range(1, 64).Draw(t, "window"), Settled: rangesG.Draw(t, "ranges"),
		}
	case 2:
		m := &Close{Reason: Reason(rapid.IntRange(0, int(Unknown)-1).Draw(t, "reason")), Text: texts.Draw(t, "text")}
		if rapid.Bool().Draw(t, "again") {
			m.Again = new(uint16)
			*m.Again = rapid.Uint16().Draw(t, "seconds")
		}
		return m
	case 3:
		return &Keepalive{rapid.Bool().Draw(t, "answer")}
	case 4:
		return &Track{rapid.Uint32().Draw(t, "number"), texts.Draw(t, "name"), rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Field {
			return Field{rapid.Uint16Range(0, mostFieldID).Draw(t, "id"), texts.Draw(t, "name"), texts.Draw(t, "unit")}
		}), 0, 20).Draw(t, "fields")}
	case 5:
		return &Boot{rapid.Uint8().Draw(t, "index"), texts.Draw(t, "id")}
	case 6:
		return &Acknowledge{rangesG.Draw(t, "ranges"), rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Refusal {
			return Refusal{rapid.Uint32().Draw(t, "track"), rapid.Uint64().Draw(t, "sequence"), texts.Draw(t, "why")}
		}), 0, 3).Draw(t, "refused")}
	case 7:
		return &Command{rapid.Uint32().Draw(t, "id"), texts.Draw(t, "actor"), texts.Draw(t, "method"), rapid.SliceOf(rapid.Byte()).Draw(t, "payload")}
	case 8:
		if why := texts.Draw(t, "failed"); why != "" {
			return &Answer{ID: rapid.Uint32().Draw(t, "id"), Failed: why}
		}
		return &Answer{ID: rapid.Uint32().Draw(t, "id"), Payload: rapid.SliceOf(rapid.Byte()).Draw(t, "payload")}
	}
	all := recordings.Draw(t, "records")
	_, boot := names(all)
	return Pack(all, boot)
})

// What we encode, asn1c reads, and encodes to the same octets; we read it as what it was.
func TestOracleAgrees(t *testing.T) {
	o := newOracle(t, "per")
	rapid.Check(t, func(t *rapid.T) {
		m := messages.Draw(t, "message")
		b, err := Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		if theirs := o.ask(b); !bytes.Equal(theirs, b) {
			t.Fatalf("%+v\nis  %x\nasn1c %x", m, b, theirs)
		}
		got, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Encode(got)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%+v\nwas %+v, %v", got, m, err)
		}
	})
}

// What asn1c encodes from the same values written as XML is what we encode, and it shows what we encode as that XML.
func TestOracleReadsTheSameValues(t *testing.T) {
	from, show := newOracle(t, "xml"), newOracle(t, "show")
	seconds := uint16(30)
	for name, m := range map[string]Message{
		"open":   &Open{1, "site-17", SessionID{1, 2, 3, 4, 5, 6, 7, 8}, 60, []Range{{7, 1 << 40, 99}, {1<<32 - 1, 1<<64 - 1, 0}}},
		"opened": &Opened{1, true, 8, []Range{{0, 0, 65535}}},
		"close":  &Close{Busy, "wait", &seconds},
		"track":  &Track{7, "tracks/meter", []Field{{1, "voltage", "V"}, {mostFieldID, "state", ""}}},
		"batch": &Batch{1 << 31, 999, []Block{{
			Track: 7, Sequence: 1 << 63, Boot: 3, Trusted: true, Uptime: -1,
			Columns: []Column{{1, Decimal, -1}, {2, Single, 16}, {3, Signed, 0}, {4, Other, 0}, {5, Unsigned, 0}},
			Rows:    []Row{{Step: Even}, {Skip: 65535, Note: "trigger", Step: Jitter, Later: -128}, {Absent: true, Step: Plain, Later: -1 << 31}, {Step: Far, Later: 1 << 40}},
			Cells: []Cell{
				{Kind: Number, N: 2301}, {Kind: Delta4, N: -8}, {Kind: Absent}, {Kind: Same},
				{Kind: Delta8, N: 127}, {Kind: Delta16, N: -32768}, {Kind: AbsentRun, N: 2},
				{Kind: OtherCell, Other: &OtherValue{Value: int64(-1 << 63)}}, {Kind: OtherCell, Other: &OtherValue{Kept: true, Quality: "stale", Cause: "timeout"}}, {Kind: SameRun, N: 2},
				{Kind: OtherCell, Other: &OtherValue{Value: 1.5, Quality: "odd"}}, {Kind: OtherCell, Other: &OtherValue{Value: true}}, {Kind: OtherCell, Other: &OtherValue{Value: []byte{1, 255}, Quality: "bad"}},
				{Kind: OtherCell, Other: &OtherValue{Value: "ä"}}, {Kind: OtherCell, Other: &OtherValue{Value: uint64(1<<64 - 1)}}, {Kind: OtherCell, Other: &OtherValue{}},
			},
		}}},
		"acknowledge": &Acknowledge{[]Range{{7, 128, 0}}, []Refusal{{7, 32768, "too old"}}},
		"command":     &Command{1 << 31, "field/plc/mixer", "WriteRegisters", []byte(`{"address":10,"values":[42]}`)},
		"answer":      &Answer{ID: 5, Failed: "no such actor"},
	} {
		xml, err := os.ReadFile("testdata/" + name + ".xml")
		if err != nil {
			t.Error(err)
		}
		ours, err := Encode(m)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if theirs := from.ask(xml); !bytes.Equal(theirs, ours) {
			t.Errorf("%s: asn1c %x, we %x", name, theirs, ours)
		}
		if shown := show.ask(ours); !bytes.Equal(bytes.TrimSpace(shown), bytes.TrimSpace(flat(xml))) {
			t.Errorf("%s: asn1c reads\n%s", name, shown)
		}
		got, err := Decode(ours)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: we read %+v, %v", name, got, err)
		}
	}
}

// flat is XML without the white space between its elements.
func flat(xml []byte) []byte {
	lines := bytes.Split(xml, []byte("\n"))
	for i := range lines {
		lines[i] = bytes.TrimSpace(lines[i])
	}
	return bytes.Join(lines, nil)
}
