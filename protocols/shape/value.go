package shape

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"gatewayd/protocols/record"
)

// put appends a value as JSON, or bare: a text without quotes.
func put(b []byte, v record.Value, bare bool) []byte {
	switch v := v.(type) {
	case bool:
		return strconv.AppendBool(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case uint64:
		return strconv.AppendUint(b, v, 10)
	case float64:
		return number(b, v)
	case string:
		return text(b, v, bare)
	case []byte:
		return text(b, base64.StdEncoding.EncodeToString(v), bare)
	}
	return append(b, "null"...)
}

// number appends a number as JSON; infinity becomes null.
func number(b []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(b, "null"...)
	}
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e15) {
		return strconv.AppendFloat(b, v, 'e', -1, 64)
	}
	return strconv.AppendFloat(b, v, 'f', -1, 64)
}

func text(b []byte, s string, bare bool) []byte {
	if plain(s) {
		if bare {
			return append(b, s...)
		}
		return append(append(append(b, '"'), s...), '"')
	}
	quoted, _ := json.Marshal(strings.ToValidUTF8(s, "\uFFFD")) // encoding a string cannot fail
	if bare {
		quoted = quoted[1 : len(quoted)-1]
	}
	return append(b, quoted...)
}

// plain reports whether a text needs no escaping in JSON.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// topical returns a text for use in a topic or id: special characters become underscores.
func topical(s string, slash bool) string {
	return strings.Map(func(r rune) rune {
		if r == '+' || r == '#' || r < ' ' || r == '/' && !slash {
			return '_'
		}
		return r
	}, s)
}
