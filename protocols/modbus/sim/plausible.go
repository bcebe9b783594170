package sim

import (
	"fmt"
	"math"
	"strings"
	"time"

	"gatewayd/protocols/modbus/points"
)

// swing describes how a quantity varies: around a middle, by up to reach in both directions, once
// per period in seconds.
type swing struct{ middle, reach, period float64 }

// swings describe quantities by their unit without prefix: a small workshop on a European grid.
var swings = map[string]swing{
	"V": {230, 3, 97}, "A": {6.5, 3, 61}, "W": {1500, 700, 61}, "VA": {1600, 700, 61}, "var": {350, 150, 61},
	"Hz": {50, 0.03, 29}, "°C": {24, 4, 601}, "%": {48, 9, 401}, "°": {120, 2, 97}, "bar": {4.2, 0.3, 151}, "ppm": {650, 180, 301},
	"m/s": {4, 3, 43}, "Pa": {101300, 200, 901}, "m³/h": {12, 4, 181}, "l/min": {20, 6, 181}, "rpm": {1450, 40, 71},
}

// grows are the rates per second of quantities that are counted up.
var grows = map[string]float64{"Wh": 1500.0 / 3600, "varh": 350.0 / 3600, "VAh": 1600.0 / 3600, "m³": 12.0 / 3600, "s": 1, "min": 1.0 / 60, "h": 1.0 / 3600}

// plausible returns a value that a point of a healthy device may have after running for t. Units
// differ slightly from each other.
func plausible(p points.Point, unit uint8, now time.Time, t time.Duration) points.Value {
	seconds, phase := t.Seconds(), float64(unit)+float64(p.Address)/7
	switch p.Type {
	case points.Bool:
		return points.Flag(math.Sin(seconds/20+phase) > 0)
	case points.String:
		text := fmt.Sprintf("SIM-%d", unit)
		room := p.Length
		if p.Byte == "" {
			room *= 2
		}
		return points.Text(text[:min(len(text), room)])
	case points.Bytes:
		return points.Raw(make([]byte, 2*p.Length))
	case points.Unix32, points.Unix64:
		return points.Text(now.UTC().Format("2006-01-02T15:04:05Z"))
	case points.CP56, points.BCDTime, points.Fields:
		return points.Text(now.UTC().Format("2006-01-02T15:04:05"))
	}
	if f := p.Finish; f != nil && len(f.Labels) > 0 {
		return points.Integer(f.Labels[int(seconds/60)%len(f.Labels)].Value)
	}
	if f := p.Finish; f != nil && len(f.Flags) > 0 {
		return points.Integer(0)
	}
	return fitting(p, quantity(p, seconds, phase))
}

// quantity returns the value in the point's unit.
func quantity(p points.Point, seconds, phase float64) float64 {
	prefix, base := prefixed(p.Unit)
	if rate, ok := grows[base]; ok {
		return (1e5*(1+math.Mod(phase, 7)) + rate*seconds) / prefix
	}
	s, ok := swings[base]
	switch {
	case ok:
	case strings.Contains(p.Name, "factor"):
		s, prefix = swing{0.93, 0.05, 61}, 1
	default:
		s, prefix = swing{20, 5, 121}, 1
	}
	slow, quick := math.Sin(2*math.Pi*seconds/s.period+phase), math.Sin(2*math.Pi*seconds/(s.period/13)+2*phase)
	return (s.middle + s.reach*(0.8*slow+0.2*quick)) / prefix
}

var prefixes = map[string]float64{"k": 1e3, "M": 1e6, "G": 1e9, "m": 1e-3}

// prefixed splits the prefix from a unit that is known without it.
func prefixed(unit string) (prefix float64, base string) {
	known := func(u string) bool { return swings[u].period > 0 || grows[u] > 0 }
	if known(unit) || len(unit) < 2 {
		return 1, unit
	}
	if by, ok := prefixes[unit[:1]]; ok && known(unit[1:]) {
		return by, unit[1:]
	}
	return 1, unit
}

// fitting returns f as a value of the point: within its limits, and rounded if the point has no
// fraction.
func fitting(p points.Point, f float64) points.Value {
	if p.Finish != nil {
		if p.Finish.Min != nil {
			f = max(f, *p.Finish.Min)
		}
		if p.Finish.Max != nil {
			f = min(f, *p.Finish.Max)
		}
	}
	switch p.Type {
	case points.Float16, points.Float32, points.Float64:
		return points.Number(f)
	}
	if (p.Scale == 0 || p.Scale == 1) && p.Offset == 0 && p.ScaleFrom == "" {
		return points.Integer(int64(math.Round(f)))
	}
	return points.Number(f)
}
