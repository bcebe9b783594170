package samplev1

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"
)

var errUTF8 = errors.New("text is not UTF-8")

// Seconds of the years 1 to 9999, which RFC 3339 can represent.
const (
	firstSecond = -62135596800
	lastSecond  = 253402300799
)

// AppendJSON appends x as protojson writes it, without spaces. It fails where protojson fails: on
// text that is not UTF-8 and on times out of range; b is then returned unchanged. It allocates only
// to grow b.
func (x *Samples) AppendJSON(b []byte) ([]byte, error) {
	w := jsonWriter{out: append(b, '{')}
	if x != nil {
		w.time(`"time":`, x.Time)
		if x.Sequence != 0 {
			w.key(`"sequence":`)
			w.quotedUint(x.Sequence)
		}
		if len(x.Samples) > 0 {
			w.key(`"samples":`)
			w.list(x.Samples)
		}
		if x.Life != 0 {
			w.key(`"life":`)
			w.out = strconv.AppendUint(w.out, uint64(x.Life), 10)
		}
	}
	if w.err != nil {
		return b, fmt.Errorf("samples as JSON: %w", w.err)
	}
	return append(w.out, '}'), nil
}

// jsonWriter keeps the first error and continues.
type jsonWriter struct {
	out []byte
	err error
}

func (w *jsonWriter) list(samples []*Sample) {
	w.out = append(w.out, '[')
	for i, s := range samples {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		w.out = append(w.out, '{')
		if s != nil {
			w.sample(s)
		}
		w.out = append(w.out, '}')
	}
	w.out = append(w.out, ']')
}

func (w *jsonWriter) sample(s *Sample) {
	w.text(`"point":`, s.Point)
	switch v := s.Value.(type) {
	case *Sample_Number:
		if v != nil {
			w.key(`"number":`)
			w.out = appendNumber(w.out, v.Number)
		}
	case *Sample_Integer:
		if v != nil {
			w.key(`"integer":`)
			w.out = append(w.out, '"')
			w.out = append(strconv.AppendInt(w.out, v.Integer, 10), '"')
		}
	case *Sample_Unsigned:
		if v != nil {
			w.key(`"unsigned":`)
			w.quotedUint(v.Unsigned)
		}
	case *Sample_Flag:
		if v != nil {
			w.key(`"flag":`)
			w.out = strconv.AppendBool(w.out, v.Flag)
		}
	case *Sample_Text:
		if v != nil {
			w.key(`"text":`)
			w.quote(v.Text)
		}
	}
	w.text(`"quality":`, s.Quality)
	w.text(`"cause":`, s.Cause)
	w.time(`"time":`, s.Time)
	w.text(`"label":`, s.Label)
}

// key begins a field; name is the JSON name, with its quotes and colon.
func (w *jsonWriter) key(name string) {
	b := w.out
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	w.out = append(b, name...)
}

func (w *jsonWriter) text(name, s string) {
	if s != "" {
		w.key(name)
		w.quote(s)
	}
}

func (w *jsonWriter) quotedUint(u uint64) {
	w.out = append(w.out, '"')
	w.out = append(strconv.AppendUint(w.out, u, 10), '"')
}

func (w *jsonWriter) quote(s string) {
	if plain(s) { // most strings are, and short
		b := append(append(w.out, '"'), s...)
		w.out = append(b, '"')
		return
	}
	w.out = append(w.out, '"')
	plain := 0 // s[plain:i] needs no escape
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				w.err = errUTF8
				return
			}
			i += n
			continue
		case c < ' ' || c == '"' || c == '\\':
			w.out = append(w.out, s[plain:i]...)
			w.out = appendEscape(w.out, c)
			plain = i + 1
		}
		i++
	}
	w.out = append(w.out, s[plain:]...)
	w.out = append(w.out, '"')
}

// plain reports whether s is ASCII that needs no escape.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func appendEscape(b []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\b':
		return append(b, '\\', 'b')
	case '\f':
		return append(b, '\\', 'f')
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}

// appendNumber writes numbers as encoding/json and protojson do.
func appendNumber(b []byte, f float64) []byte {
	switch abs := math.Abs(f); {
	case abs < 1<<53 && f == math.Trunc(f) && (f != 0 || !math.Signbit(f)):
		return strconv.AppendInt(b, int64(f), 10)
	case math.IsNaN(f):
		return append(b, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Infinity"`...)
	case abs != 0 && (abs < 1e-6 || abs >= 1e21):
		b = strconv.AppendFloat(b, f, 'e', -1, 64)
		if n := len(b); b[n-4] == 'e' && b[n-3] == '-' && b[n-2] == '0' {
			b[n-2] = b[n-1]
			b = b[:n-1]
		}
		return b
	}
	return strconv.AppendFloat(b, f, 'f', -1, 64)
}

// time writes RFC 3339 in UTC with 0, 3, 6 or 9 digits of fraction.
func (w *jsonWriter) time(name string, t *timestamppb.Timestamp) {
	if t == nil {
		return
	}
	if t.Seconds < firstSecond || t.Seconds > lastSecond || t.Nanos < 0 || t.Nanos > 999999999 {
		w.err = fmt.Errorf("time of %d s and %d ns is out of range", t.Seconds, t.Nanos)
		return
	}
	w.key(name)
	at := time.Unix(t.Seconds, 0).UTC()
	year, month, day := at.Date()
	hour, minute, second := at.Clock()
	b := append(w.out, '"')
	b = append(appendDigits(b, year, 4), '-')
	b = append(appendDigits(b, int(month), 2), '-')
	b = append(appendDigits(b, day, 2), 'T')
	b = append(appendDigits(b, hour, 2), ':')
	b = append(appendDigits(b, minute, 2), ':')
	b = appendDigits(b, second, 2)
	switch n := int(t.Nanos); {
	case n == 0:
	case n%1e6 == 0:
		b = appendDigits(append(b, '.'), n/1e6, 3)
	case n%1e3 == 0:
		b = appendDigits(append(b, '.'), n/1e3, 6)
	default:
		b = appendDigits(append(b, '.'), n, 9)
	}
	w.out = append(b, 'Z', '"')
}

func appendDigits(b []byte, n, width int) []byte {
	for range width {
		b = append(b, '0')
	}
	for i := len(b) - 1; n > 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}
