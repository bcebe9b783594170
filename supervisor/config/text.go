package config

import (
	"bytes"
	"compress/flate"
	"io"
)

// Text is what a config was read from. A large one is held compressed: it is
// needed only when somebody asks for it, and its lines are much alike.
type Text struct {
	held []byte
	size int // unpacked; 0: it is not packed
}

// large is where a text begins to be worth the compressor, which takes a megabyte for a moment.
const large = 32 << 10

// NewText holds text, which may change afterwards.
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

// Bytes is the text; nobody changes it.
func (t Text) Bytes() []byte {
	if t.size == 0 {
		return t.held
	}
	text := make([]byte, t.size)
	_, _ = io.ReadFull(flate.NewReader(bytes.NewReader(t.held)), text) // out of memory it comes whole
	return text
}
