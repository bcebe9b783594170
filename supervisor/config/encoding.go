package config

import (
	"bytes"
	"unicode/utf8"
)

// decoded returns text as UTF-8, the only encoding of TOML. Another encoding is reported once,
// where it first shows, and not for each word that cannot be read. It returns false if no part of
// the text can be read.
func decoded(text []byte, problem func(line int, key, format string, args ...any)) ([]byte, bool) {
	if bytes.HasPrefix(text, []byte{0xff, 0xfe}) || bytes.HasPrefix(text, []byte{0xfe, 0xff}) {
		problem(1, "", "the text is UTF-16: save it as UTF-8")
		return nil, false
	}
	if i := bytes.IndexByte(text, 0); i >= 0 {
		problem(1+bytes.Count(text[:i], []byte("\n")), "", "a zero byte: this is not a text file")
		return nil, false
	}
	if utf8.Valid(text) {
		return text, true
	}
	for i := 0; ; {
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			problem(1+bytes.Count(text[:i], []byte("\n")), "", "byte 0x%02X is not UTF-8: save the text as UTF-8", text[i])
			return bytes.ToValidUTF8(text, []byte("\ufffd")), true
		}
		i += size
	}
}
