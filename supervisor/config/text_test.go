package config_test

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"gatewayd/supervisor/config"
)

func TestTextComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := bytes.Repeat(rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "part"), rapid.IntRange(0, 400).Draw(t, "times"))
		want := bytes.Clone(text)
		held := config.NewText(text)
		clear(text)
		if got := held.Bytes(); !bytes.Equal(got, want) {
			t.Fatalf("%d bytes came back of %d", len(got), len(want))
		}
	})
}
