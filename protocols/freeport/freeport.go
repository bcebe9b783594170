// Package freeport finds free ports for programs that must be given a port, in tests and
// benchmarks.
package freeport

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
)

// The range is below the kernel's ephemeral ports (32768 and up), so that no outgoing connection
// takes a port in the meantime.
const (
	first = 10_000
	count = 20_000
)

// next cycles through the range, so that a port found but not yet opened is not found again in this
// process. Other processes start elsewhere.
var next = func() *atomic.Uint32 {
	var n atomic.Uint32
	n.Store(rand.Uint32N(count))
	return &n
}()

// Find returns a port of 127.0.0.1 that neither TCP nor UDP uses.
func Find() (int, error) {
	for range count {
		port := first + int(next.Add(1)%count)
		if free(port) {
			return port, nil
		}
	}
	return 0, errors.New("no port is free")
}

func free(port int) bool {
	address := "127.0.0.1:" + strconv.Itoa(port)
	l, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	defer l.Close()
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	return c.Close() == nil
}

// test is the part of testing.TB used here.
type test interface {
	Helper()
	Fatal(args ...any)
}

// Port returns a free port as text.
func Port(t test) string {
	t.Helper()
	port, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(port)
}

// Address returns a free address as host:port.
func Address(t test) string {
	t.Helper()
	return "127.0.0.1:" + Port(t)
}
