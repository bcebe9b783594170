package config

import (
	"bytes"
	"compress/flate"
	"io"
)

// Text is the text of a config. A large text is kept compressed: it is rarely needed, and its lines
// are similar.
type Text struct {
	held []byte
	size int // uncompressed; 0: it is not compressed
}

// large is the size in bytes from which a text is compressed. The compressor temporarily takes a
// megabyte.
const large = 32 << 10

// NewText returns a Text with a copy of text.
func NewText(text []byte) Text {
	if len(text) >= large {
		var b bytes.Buffer
		if w, err := flate.NewWriter(&b, flate.BestSpeed); err == nil {
			_, err = w.Write(text)
			if err == nil && w.Close() == nil {
				return Text{bytes.Clone(b.Bytes()), len(text)}
			}
		}
	}
	return Text{held: bytes.Clone(text)}
}

// Bytes returns the text, which must not be modified.
func (t Text) Bytes() []byte {
	if t.size == 0 {
		return t.held
	}
	text := make([]byte, t.size)
	_, _ = io.ReadFull(flate.NewReader(bytes.NewReader(t.held)), text) // reading from memory does not fail
	return text
}
