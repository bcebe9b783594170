// Package compress compresses data for metered links.
package compress

import (
	"bytes"
	"compress/gzip"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// Bytes returns p compressed with "gzip" or "zstd"; with "", p itself.
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
		// A window no larger than the batch, and one goroutine: the library's default encoder holds
		// megabytes.
		w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window(len(p))), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return nil, err
		}
		defer func() { _ = w.Close() }()
		return w.EncodeAll(p, make([]byte, 0, len(p)/4)), nil
	}
	return nil, fmt.Errorf("%q is neither gzip nor zstd", by)
}

// window returns the smallest power of two that holds n bytes, within the limits of the format.
func window(n int) int {
	w := zstd.MinWindowSize
	for w < n && w < 1<<20 {
		w *= 2
	}
	return w
}
