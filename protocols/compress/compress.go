// Package compress compresses what is sent over links that are paid by the byte.
package compress

import (
	"bytes"
	"compress/gzip"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// Bytes is p compressed by "gzip" or "zstd"; by "" it is p itself.
func Bytes(by string, p []byte) ([]byte, error) {
	switch by {
	case "":
		return p, nil
	case "gzip":
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if _, err := w.Write(p); err != nil {
			return nil, err
		}
		err := w.Close()
		return b.Bytes(), err
	case "zstd":
		// A window no larger than a batch, and one goroutine: an encoder of the library's own choosing holds megabytes.
		w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window(len(p))), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return nil, err
		}
		defer func() { _ = w.Close() }()
		return w.EncodeAll(p, make([]byte, 0, len(p)/4)), nil
	}
	return nil, fmt.Errorf("%q is neither gzip nor zstd", by)
}

// window is the smallest power of two that holds n bytes, within what the format allows.
func window(n int) int {
	w := zstd.MinWindowSize
	for w < n && w < 1<<20 {
		w *= 2
	}
	return w
}
