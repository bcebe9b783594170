package freeport_test

import (
	"net"
	"sync"
	"testing"

	"gatewayd/protocols/freeport"
)

// Many concurrent callers get different ports, and can open all of them.
func TestNobodyIsGivenWhatAnotherHas(t *testing.T) {
	var all sync.Map
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				address := freeport.Address(t)
				if _, twice := all.LoadOrStore(address, true); twice {
					t.Errorf("%s was given twice", address)
				}
				l, err := net.Listen("tcp", address)
				if err != nil {
					t.Error(err)
					continue
				}
				defer l.Close()
			}
		})
	}
	wg.Wait()
}
