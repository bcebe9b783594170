// Package stranger recognises what kind of server answers at a port where another one was expected,
// by its first octets. It only improves error messages; the protocol itself decides whether the
// peer is right.
package stranger

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Who returns a description of the server that sent these octets, to be continued after "there";
// empty if it is not recognised.
func Who(said []byte) string {
	switch {
	case bytes.HasPrefix(said, []byte("HTTP/")):
		return "a web server (HTTP)"
	case bytes.HasPrefix(said, []byte("INFO {")):
		return "a NATS server"
	case bytes.HasPrefix(said, []byte("SSH-")):
		return "an SSH server"
	// An alert or a handshake.
	case len(said) >= 3 && (said[0] == 0x15 || said[0] == 0x16) && said[1] == 3 && said[2] <= 4:
		return "a server that requires TLS"
	case len(said) >= 4 && said[0] == 0x20 && said[1] == byte(len(said)-2) && said[2] <= 1:
		return "an MQTT broker"
	}
	line, _, _ := strings.Cut(string(said[:min(len(said), 60)]), "\n")
	line = strings.TrimSpace(line)
	if len(line) < 3 || !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return fmt.Sprintf("a server that sends %q", line)
}
