package mqtt

import "testing"

// With No Local a client does not receive its own messages; all others do.
func TestNoLocalIsOfOnesOwn(t *testing.T) {
	s := start(t, Config{})
	a, b := join(t, s, hello{id: "a", ver: 5}), join(t, s, hello{id: "b", ver: 5})
	for _, p := range []*peer{a, b} {
		if code := p.subscribe("x", 2|4); code != 2 {
			t.Fatalf("granted %d", code)
		}
	}
	a.publish("x", 1, 9, "hello", append([]byte{0x08}, text("x")...)...)
	a.want(0x40)
	if _, payload, _ := b.message(); payload != "hello" {
		t.Errorf("got %q", payload)
	}
	a.sync()
}
