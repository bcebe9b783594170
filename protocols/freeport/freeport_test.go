package freeport_test

import (
	"fmt"
	"net"
	"sync"
	"testing"

	"gatewayd/protocols/freeport"
)

func TestWhatAnotherProcessHasFoundIsLeftToIt(t *testing.T) {
	found, err := freeport.Find()
	if err != nil {
		t.Fatal(err)
	}
	next := found + 1
	other, err := net.ListenPacket("unixgram", fmt.Sprint("@gatewayd-port-", next))
	if err != nil {
		t.Skip("another process has it indeed: ", err)
	}
	defer other.Close()
	if again, err := freeport.Find(); err != nil || again == next {
		t.Errorf("%d is found again: %v", again, err)
	}
}

// Many who ask at once are given ports of their own, which all of them can open.
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
