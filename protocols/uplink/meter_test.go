package uplink_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"gatewayd/protocols/uplink"
)

// Data that the far end has not accepted when the connection is closed is discarded; closing
// messages are sent.
func TestWhatIsNotTakenIsGivenUp(t *testing.T) {
	for name, most := range map[string]int{"much": 1 << 30, "a goodbye": 100} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			var m uplink.Meter
			conn, err := m.DialContext(t.Context(), "tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			far, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = far.Close() }()
			for wrote := 0; wrote < most; { // until the link accepts no more
				_ = conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
				n, err := conn.Write(make([]byte, min(most-wrote, 1<<16)))
				if wrote += n; errors.Is(err, os.ErrDeadlineExceeded) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
			_ = conn.Close()
			_ = far.SetReadDeadline(time.Now().Add(time.Minute))
			got, err := io.Copy(io.Discard, far)
			sent, _ := m.Traffic()
			if most == 100 && (got != 100 || err != nil) {
				t.Errorf("%d of %d bytes have come: %v", got, sent, err)
			}
			if most > 100 && (uint64(got) >= sent || err == nil) {
				t.Errorf("%d of %d bytes have come, though nobody waits for them any more", got, sent)
			}
		})
	}
}
