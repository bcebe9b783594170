package mqtt

import "testing"

// What the library has used is known to the byte, from CONNECT on: else an idle client would hold a buffer, and be read in whatever order.
func TestNothingIsThoughtToBeReadAhead(t *testing.T) {
	ahead := make(chan int, 1)
	s := start(t, Config{OnSession: func(e SessionEvent) {
		if e.Kind == SessionSubscribed {
			ahead <- e.Client.conn.ahead
		}
	}})
	for _, version := range []byte{4, 5} {
		p := join(t, s, hello{ver: version})
		p.sync()
		p.subscribe("a/b", 1)
		want := 2 + 2 + 2 + len("a/b") + 1 // header, packet identifier, filter, options
		if version == 5 {
			want++ // no properties
		}
		if got := <-ahead; got != want {
			t.Errorf("MQTT %d: %d bytes are read ahead, want the %d of SUBSCRIBE", version, got, want)
		}
	}
}
