package shape

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"gatewayd/protocols/record"
)

var (
	escapeName = strings.NewReplacer(`\`, `\\`, ",", `\,`, " ", `\ `, "\n", `\n`)
	escapeTag  = strings.NewReplacer(`\`, `\\`, ",", `\,`, "=", `\=`, " ", `\ `, "\n", `\n`)
	escapeText = strings.NewReplacer(`\`, `\\`, `"`, `\"`)
)

// Influx encodes a batch in InfluxDB line protocol: one line per record, with the last part of the
// track's name as measurement and the tags gateway and track. Values that cannot be expressed are
// left out, and so are records without any other value.
func Influx(gateway string, batch []record.Record) []byte {
	b := make([]byte, 0, 128*len(batch))
	for i := range batch {
		r := &batch[i]
		line := append(b, escapeName.Replace(base(r.Track))...)
		line = append(append(line, ",gateway="...), escapeTag.Replace(gateway)...)
		line = append(append(line, ",track="...), escapeTag.Replace(r.Track)...)
		n := 0
		for j := range r.Fields {
			f := &r.Fields[j]
			sep := byte(',')
			if n == 0 {
				sep = ' '
			}
			v, ok := influxValue(f.Value)
			if !ok {
				continue
			}
			n++
			line = append(append(append(append(line, sep), escapeTag.Replace(f.Name)...), '='), v...)
		}
		if r.Absent {
			line = append(line, " absent=true"...)
			n++
		}
		if n == 0 {
			continue
		}
		line = append(strconv.AppendInt(append(line, ' '), r.Time.UnixNano(), 10), '\n')
		b = line
	}
	return b
}

// InfluxCarries reports whether the line protocol can express anything of a record.
func InfluxCarries(r record.Record) bool {
	return r.Absent || slices.ContainsFunc(r.Fields, func(f record.Field) bool {
		_, ok := influxValue(f.Value)
		return ok
	})
}

func influxValue(v record.Value) (string, bool) {
	switch v := v.(type) {
	case bool:
		return strconv.FormatBool(v), true
	case int64:
		return strconv.FormatInt(v, 10) + "i", true
	case uint64:
		if v > math.MaxInt64 {
			return strconv.FormatUint(v, 10) + "u", true
		}
		return strconv.FormatUint(v, 10) + "i", true
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return "", false
		}
		return strconv.FormatFloat(v, 'g', -1, 64), true
	case string:
		return `"` + escapeText.Replace(v) + `"`, true
	}
	return "", false
}
