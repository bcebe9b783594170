package claim

import (
	"bytes"
	"testing"
)

func FuzzRead(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x10{\"proof\":\"YWJj\"}"))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var o Request
		if err := read(bytes.NewReader(b), &o); err != nil {
			return
		}
		var w bytes.Buffer
		var again Request
		if err := write(&w, o); err != nil {
			return // a year that RFC 3339 cannot express
		}
		if err := read(&w, &again); err != nil {
			t.Error(err)
		}
	})
}
