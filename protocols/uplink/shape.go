package uplink

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"

	"gatewayd/protocols/record"
)

// decimals returns the number of decimals to keep; nil: all.
func (r *rule) decimals(strain Strain) *int {
	if strain == Free || r.SlowPrecision == nil || r.Precision != nil && *r.Precision < *r.SlowPrecision {
		return r.Precision
	}
	return r.SlowPrecision
}

// shape scales a number and rounds it to decimals, nil: all; anything else stays unchanged.
func (r *rule) shape(v record.Value, decimals *int) record.Value {
	if r.scale == 1 && r.Offset == 0 && decimals == nil {
		return v
	}
	if r.scale == 1 && r.Offset == 0 && *decimals >= 0 {
		if f, ok := v.(float64); ok {
			return rounded(f, *decimals)
		}
		return v // a whole number has no decimals to lose
	}
	var f float64
	switch n := v.(type) {
	case float64:
		f = n
	case int64:
		f = float64(n)
	case uint64:
		f = float64(n)
	default:
		return v
	}
	f = f*r.scale + r.Offset
	if decimals != nil {
		f = rounded(f, *decimals)
	}
	return f
}

// rounded rounds to decimals; a number too large to have them stays unchanged.
func rounded(f float64, decimals int) float64 {
	p := math.Pow10(min(max(decimals, -18), 18))
	if r := math.Round(f*p) / p; !math.IsNaN(r) && !math.IsInf(r, 0) {
		return r
	}
	return f
}

// masked shows that there is a text and nothing else.
func masked(v record.Value) record.Value {
	switch v.(type) {
	case string, []byte:
		return "***"
	}
	return nil
}

func hashed(salt string, v record.Value) record.Value {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%d %s%T %v", len(salt), salt, v, v)
	return hex.EncodeToString(h.Sum(nil)[:6])
}
