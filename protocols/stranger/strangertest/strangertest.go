// Package strangertest runs servers of the wrong kind, for tests.
package strangertest

import (
	"io"
	"net"
	"testing"
)

// Says returns the address of a server that sends this to every client, and nothing more.
func Says(t testing.TB, said string) string {
	return serve(t, func(conn net.Conn) {
		_, _ = io.WriteString(conn, said)
		_, _ = io.Copy(io.Discard, conn)
	})
}

// SaysOnce returns the address of a server that waits for data from the client, sends this and
// hangs up.
func SaysOnce(t testing.TB, said string) string {
	return serve(t, func(conn net.Conn) {
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = io.WriteString(conn, said)
	})
}

// Closes returns the address of a server that hangs up on every client that sends something.
func Closes(t testing.TB) string {
	return serve(t, func(conn net.Conn) { _, _ = conn.Read(make([]byte, 4096)) })
}

// Hangs returns the address of a server that hangs up on every client at once.
func Hangs(t testing.TB) string { return serve(t, func(net.Conn) {}) }

func serve(t testing.TB, one func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				one(conn)
			}()
		}
	}()
	return l.Addr().String()
}
