package sparkplug_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os/exec"
	"reflect"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"gatewayd/protocols/sparkplug"
)

// A tahu is the payload codec of Eclipse Tahu.
type tahu struct {
	t   testing.TB
	in  io.Writer
	out *bufio.Reader
}

func startTahu(t testing.TB) *tahu {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("node is missing: apt-get install -y nodejs npm")
	}
	cmd := exec.Command(node, "testdata/npm/peer.js")
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v\n%s\nif a module is missing: sh packaging/npm.sh", err, &complaints)
		}
	})
	return &tahu{t, in, bufio.NewReader(out)}
}

func (p *tahu) ask(what, of string) string {
	if _, err := fmt.Fprintln(p.in, what, of); err != nil {
		p.t.Fatal(err)
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatal(err)
	}
	return line[:len(line)-1]
}

type scalar struct {
	typ   sparkplug.DataType
	value sparkplug.Value
}

// value generates a value of any scalar type.
func value(t *rapid.T) scalar {
	s := scalar{typ: rapid.SampledFrom([]sparkplug.DataType{sparkplug.Int8, sparkplug.Int16, sparkplug.Int32, sparkplug.Int64, sparkplug.UInt8,
		sparkplug.UInt16, sparkplug.UInt32, sparkplug.UInt64, sparkplug.Float, sparkplug.Double, sparkplug.Boolean, sparkplug.String,
		sparkplug.DateTime, sparkplug.Text, sparkplug.Bytes}).Draw(t, "type")}
	switch s.typ {
	case sparkplug.Int8:
		s.value = sparkplug.Int(int32(rapid.Int8().Draw(t, "value")))
	case sparkplug.Int16:
		s.value = sparkplug.Int(int32(rapid.Int16().Draw(t, "value")))
	case sparkplug.Int32, sparkplug.UInt32:
		s.value = sparkplug.Int(rapid.Uint32().Draw(t, "value"))
	case sparkplug.UInt8:
		s.value = sparkplug.Int(rapid.Uint8().Draw(t, "value"))
	case sparkplug.UInt16:
		s.value = sparkplug.Int(rapid.Uint16().Draw(t, "value"))
	case sparkplug.Int64, sparkplug.UInt64, sparkplug.DateTime:
		s.value = sparkplug.Long(rapid.Uint64().Draw(t, "value"))
	case sparkplug.Float:
		s.value = rapid.Float32Range(-1e30, 1e30).Draw(t, "value")
	case sparkplug.Double:
		s.value = rapid.Float64Range(-1e300, 1e300).Draw(t, "value")
	case sparkplug.Boolean:
		s.value = rapid.Bool().Draw(t, "value")
	case sparkplug.String, sparkplug.Text:
		s.value = rapid.String().Draw(t, "value")
	case sparkplug.Bytes:
		s.value = rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "value")
	}
	return s
}

func payload(t *rapid.T) *sparkplug.Payload {
	p := &sparkplug.Payload{Time: rapid.Int64Range(1, math.MaxInt64).Draw(t, "time"), Seq: rapid.IntRange(sparkplug.NoSeq, 255).Draw(t, "seq")}
	for range rapid.IntRange(0, 4).Draw(t, "metrics") {
		s := value(t)
		m := sparkplug.Metric{Name: rapid.String().Draw(t, "name"), Alias: rapid.Uint64().Draw(t, "alias"), Type: s.typ, Value: s.value,
			Time: rapid.Int64Min(1).Draw(t, "time"), Historical: rapid.Bool().Draw(t, "historical")}
		if rapid.IntRange(0, 4).Draw(t, "null") == 0 {
			m.Null, m.Value = true, nil
		}
		if rapid.Bool().Draw(t, "quality") {
			m.Properties = []sparkplug.Property{{Key: "engUnit", Type: sparkplug.String, Value: rapid.String().Draw(t, "unit")},
				{Key: sparkplug.Quality, Type: sparkplug.Int32, Value: sparkplug.Int(500)}}
		}
		p.Metrics = append(p.Metrics, m)
	}
	return p
}

// Tahu reads what we write.
func TestTahuReads(t *testing.T) {
	peer := startTahu(t)
	rapid.Check(t, func(t *rapid.T) {
		p := payload(t)
		var got struct {
			Timestamp, Seq string
			Metrics        []map[string]any
		}
		answer := peer.ask("decode", hex.EncodeToString(p.Append(nil)))
		if err := json.Unmarshal([]byte(answer), &got); err != nil {
			t.Fatal(answer, err)
		}
		if p.Seq == sparkplug.NoSeq && got.Seq != "" || p.Seq != sparkplug.NoSeq && got.Seq != strconv.Itoa(p.Seq) || got.Timestamp != strconv.FormatInt(p.Time, 10) || len(got.Metrics) != len(p.Metrics) {
			t.Fatalf("%+v\n%s", p, answer)
		}
		for i, m := range p.Metrics {
			g := got.Metrics[i]
			want := map[string]any{"timestamp": strconv.FormatInt(m.Time, 10), "datatype": float64(m.Type)}
			if m.Name != "" {
				want["name"] = m.Name
			}
			if m.Alias != 0 {
				want["alias"] = strconv.FormatUint(m.Alias, 10)
			}
			if m.Historical {
				want["isHistorical"] = true
			}
			if m.Null {
				want["isNull"] = true
			}
			if len(m.Properties) > 0 {
				want["properties"] = map[string]any{"keys": []any{"engUnit", "Quality"}, "values": []any{
					map[string]any{"type": 12.0, "stringValue": m.Properties[0].Value}, map[string]any{"type": 3.0, "intValue": 500.0}}}
			}
			switch v := m.Value.(type) {
			case sparkplug.Int:
				want["intValue"] = float64(v)
			case sparkplug.Long:
				want["longValue"] = strconv.FormatUint(uint64(v), 10)
			case float32:
				want["floatValue"] = float64(v)
			case float64:
				want["doubleValue"] = v
			case bool:
				want["booleanValue"] = v
			case string:
				want["stringValue"] = v
			case []byte:
				want["bytesValue"] = base64.StdEncoding.EncodeToString(v)
			}
			if !reflect.DeepEqual(g, want) {
				t.Fatalf("got  %v\nwant %v", g, want)
			}
		}
	})
}

// We read what Tahu writes.
func TestTahuWrites(t *testing.T) {
	peer := startTahu(t)
	for _, x := range []struct {
		typ, value string
		want       any
	}{
		{"Int8", "-1", int64(-1)}, {"Int8", "127", int64(127)}, {"Int16", "-32768", int64(-32768)}, {"Int32", "-5", int64(-5)},
		{"Int64", "-7", int64(-7)}, {"UInt8", "255", uint64(255)}, {"UInt16", "65535", uint64(65535)}, {"UInt32", "4294967295", uint64(4294967295)},
		{"UInt64", "9007199254740991", uint64(9007199254740991)}, {"Float", "1.5", 1.5}, {"Double", "2.25", 2.25}, {"Boolean", "true", true},
		{"String", `"ä"`, "ä"}, {"Text", `"t"`, "t"}, {"DateTime", "1700000000000", uint64(1700000000000)},
	} {
		raw, err := hex.DecodeString(peer.ask("encode", fmt.Sprintf(`{"timestamp":5,"seq":7,"metrics":[{"name":"a/b","alias":3,"timestamp":4,"type":%q,"value":%s,`+
			`"properties":{"Quality":{"type":"Int32","value":192}}}]}`, x.typ, x.value)))
		if err != nil {
			t.Fatal(err)
		}
		p, err := sparkplug.Parse(raw)
		if err != nil || len(p.Metrics) != 1 || p.Time != 5 || p.Seq != 7 {
			t.Fatalf("%s: %+v, %v", x.typ, p, err)
		}
		m := p.Metrics[0]
		v, err := sparkplug.Typed(m.Type, m.Value)
		if err != nil || v != x.want || m.Type.String() != x.typ || m.Name != "a/b" || m.Alias != 3 || m.Time != 4 ||
			!reflect.DeepEqual(m.Properties, []sparkplug.Property{{Key: "Quality", Type: sparkplug.Int32, Value: sparkplug.Int(192)}}) {
			t.Errorf("%s %s: %+v, %v, %v", x.typ, x.value, m, v, err)
		}
	}
}

func TestPayloadThereAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := payload(t)
		got, err := sparkplug.Parse(p.Append(nil))
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Fatalf("%v\ngot  %+v\nwant %+v", err, got, p)
		}
	})
}

func TestNarrowIntegers(t *testing.T) {
	for _, x := range []struct {
		typ   sparkplug.DataType
		value sparkplug.Value
		want  any // nil: refused
	}{
		{sparkplug.Int8, sparkplug.Int(0xFF), int64(-1)}, {sparkplug.Int8, sparkplug.Int(0xFFFFFFFF), int64(-1)}, {sparkplug.Int8, sparkplug.Int(200), int64(-56)},
		{sparkplug.Int8, sparkplug.Int(300), nil}, {sparkplug.UInt8, sparkplug.Int(256), nil}, {sparkplug.Int16, sparkplug.Long(math.MaxUint64), int64(-1)},
		{sparkplug.Int32, sparkplug.Int(0x80000000), int64(math.MinInt32)}, {sparkplug.Int32, sparkplug.Long(1 << 40), nil}, {sparkplug.Boolean, sparkplug.Int(1), nil},
		{sparkplug.Double, float32(1), 1.0}, {sparkplug.String, true, nil}, {sparkplug.Int64, sparkplug.Long(math.MaxUint64), int64(-1)},
	} {
		got, err := sparkplug.Typed(x.typ, x.value)
		if got != x.want || (err == nil) != (x.want != nil) {
			t.Errorf("%s %v: %v, %v", x.typ, x.value, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add((&sparkplug.Payload{Time: 1, Seq: 0, Metrics: []sparkplug.Metric{{Name: "a", Type: sparkplug.Int8, Value: sparkplug.Int(1),
		Properties: []sparkplug.Property{{Key: "k", Type: sparkplug.Int32, Value: sparkplug.Int(1)}}}}}).Append(nil))
	f.Add([]byte{0x12, 0x05, 0x4a, 0x03, 0x0a, 0x01, 'k'})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := sparkplug.Parse(b)
		if err != nil {
			return
		}
		again, err := sparkplug.Parse(p.Append(nil))
		if err != nil || len(again.Metrics) != len(p.Metrics) {
			t.Fatalf("%v\n%+v\n%+v", err, p, again)
		}
		for _, m := range p.Metrics {
			_, _ = sparkplug.Typed(m.Type, m.Value)
		}
	})
}
