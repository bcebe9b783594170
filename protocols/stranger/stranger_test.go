package stranger_test

import (
	"testing"

	"gatewayd/protocols/stranger"
)

func TestWho(t *testing.T) {
	for said, want := range map[string]string{
		"HTTP/1.1 400 Bad Request\r\n":    "a web server (HTTP)",
		"INFO {\"server_id\":\"N\"} \r\n": "a NATS server",
		"SSH-2.0-OpenSSH_9.2p1\r\n":       "an SSH server",
		"\x15\x03\x01\x00\x02\x02\x46":    "a server that requires TLS",
		"\x20\x02\x00\x05":                "an MQTT broker",
		"\x20\x03\x00\x84\x00":            "an MQTT broker",
		"220 mail.example ESMTP\r\n":      `a server that sends "220 mail.example ESMTP"`,
		"\x00\x12\xffabc":                 "",
		"":                                "",
		"\x20":                            "",
		"ab":                              "",
	} {
		if got := stranger.Who([]byte(said)); got != want {
			t.Errorf("%q: %q, want %q", said, got, want)
		}
	}
}
