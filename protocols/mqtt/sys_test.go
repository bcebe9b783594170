package mqtt

import (
	"strings"
	"testing"
)

// A client that subscribes to the statistics gets them, but not by a filter that begins with a
// wildcard.
func TestTheBrokerTellsOfItself(t *testing.T) {
	s := start(t, Config{})
	join(t, s, hello{id: "other"}).subscribe("x", 0)
	p := join(t, s, hello{id: "watch"})
	p.subscribe("#", 0)
	p.subscribe("+/broker/uptime", 0)
	p.sync() // nothing came but the answers
	p.subscribe("$SYS/broker/clients/+", 0)
	for _, want := range []string{"connected 2", "disconnected 0", "total 2"} {
		topic, payload, _ := p.message()
		if got := strings.TrimPrefix(topic, "$SYS/broker/clients/") + " " + payload; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	p.subscribe("$SYS/broker/uptime", 0)
	if topic, payload, _ := p.message(); topic != "$SYS/broker/uptime" || !strings.HasSuffix(payload, " seconds") {
		t.Errorf("%s: %q", topic, payload)
	}
	p.sync()
}
