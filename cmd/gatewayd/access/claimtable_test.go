package access

import (
	"strings"
	"testing"
)

// After a claim from another machine, all doors of the gateway are reachable from there, except
// unencrypted ones.
func TestClaimOpensEveryDoorThatIsEncrypted(t *testing.T) {
	const before = `[mqtt] # for everybody
kind   = "mqtt-broker"
listen = "127.0.0.1:8883"
doors  = [{ listen = "127.0.0.1:9001", websocket = true }, { plain = true, listen = "localhost:1884" }]

[other]
kind   = "erratic"
listen = "127.0.0.1:1"

[[mqtt.doors]] # for panels
listen    = "[::1]:9002"
websocket = true

[[mqtt.doors]]
listen = '127.0.0.1:1885'
plain  = true

[[mqtt.doors]]
socket = "/run/gatewayd/mqtt"

[[mqtt.doors]]
listen = "10.0.0.7:1886"

[[plc.doors]]
listen = "127.0.0.1:2"
`
	lines := strings.Split(before, "\n")
	first, last := tableOf(lines, 1)
	openTable(lines, first, last)
	want := before
	for _, c := range [][2]string{
		{`"127.0.0.1:8883"`, `"0.0.0.0:8883"`}, {`"127.0.0.1:9001"`, `"0.0.0.0:9001"`}, {`"[::1]:9002"`, `"0.0.0.0:9002"`},
	} {
		want = strings.Replace(want, c[0], c[1], 1)
	}
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
