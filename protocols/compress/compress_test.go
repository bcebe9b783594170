package compress_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"gatewayd/protocols/compress"
)

// Any reader of the format restores the original, and repetitive data becomes smaller.
func TestBytes(t *testing.T) {
	readers := map[string]func(io.Reader) (io.Reader, error){
		"":     func(r io.Reader) (io.Reader, error) { return r, nil },
		"gzip": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"zstd": func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) },
	}
	for by, reader := range readers {
		for _, n := range []int{0, 1, 1000, 3 << 20} {
			text := []byte(strings.Repeat("power 230.1 W ", n/14+1)[:n])
			b, err := compress.Bytes(by, text)
			if err != nil {
				t.Fatal(err)
			}
			if by != "" && n >= 1000 && len(b) > n/4 {
				t.Errorf("%s: %d bytes are %d", by, n, len(b))
			}
			r, err := reader(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			if back, err := io.ReadAll(r); err != nil || !bytes.Equal(back, text) {
				t.Errorf("%s: %d bytes come back as %d, %v", by, n, len(back), err)
			}
		}
	}
	if _, err := compress.Bytes("brotli", nil); err == nil || !strings.Contains(err.Error(), `"brotli" is neither gzip nor zstd`) {
		t.Errorf("brotli: %v", err)
	}
}
