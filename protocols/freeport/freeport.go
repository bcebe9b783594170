// Package freeport finds ports for peers that have to be told one, in tests and measurements.
package freeport

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
)

// The range lies below that from which the kernel chooses for whoever does not care (32768 and up): a connection that somebody else
// makes at the wrong moment takes no port away.
const (
	first = 10_000
	count = 20_000
)

// next goes through the range, so that nobody in this process is given what another has not opened yet. Other processes begin elsewhere.
var next = func() *atomic.Uint32 {
	var n atomic.Uint32
	n.Store(rand.Uint32N(count))
	return &n
}()

// Find returns a port of 127.0.0.1 that neither TCP nor UDP has in use.
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

// test is what a test is here.
type test interface {
	Helper()
	Fatal(args ...any)
}

// Port is Find in digits.
func Port(t test) string {
	t.Helper()
	port, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(port)
}

// Address is Find as host:port.
func Address(t test) string {
	t.Helper()
	return "127.0.0.1:" + Port(t)
}
