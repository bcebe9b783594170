package actors_test

import (
	"errors"
	"runtime"
	"testing"

	"gatewayd/actors"
)

func TestShared(t *testing.T) {
	var c actors.Shared[string, [64]int]
	made := 0
	get := func(key string, fits bool) *[64]int {
		v, err := c.Get(key, func(*[64]int) bool { return fits }, func() (*[64]int, error) {
			made++
			return &[64]int{made}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	a := get("a", true)
	if get("a", true) != a || get("b", true) == a || get("a", false) == a {
		t.Error("values are not those of their keys")
	}
	if _, err := c.Get("c", nil, func() (*[64]int, error) { return nil, errors.New("no") }); err == nil {
		t.Error("no error")
	}
	runtime.KeepAlive(a)
	before := made
	runtime.GC()
	if get("b", true); made != before+1 {
		t.Error("a value that nobody holds is still there")
	}
}
