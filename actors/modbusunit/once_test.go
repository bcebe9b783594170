package modbusunit_test

import (
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusunit"
	"gatewayd/actors/tcplink"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Connections end at random while many callers write at a time. No write is carried out twice, a
// confirmed one was carried out, and one reported as not sent was not. Those are requested again,
// because a link sends nothing for a while after a connection was cut.
func TestWritesHappenAtMostOnce(t *testing.T) {
	d := meter(7)
	var mu sync.Mutex
	done := map[uint16]int{}
	d.Changed(func(_ sim.Table, address uint16, _ []uint16) {
		mu.Lock()
		defer mu.Unlock()
		done[address]++
	})
	conns := make(chan net.Conn, 1024)
	at := accepting(t, sim.NewPlant(d), conns)
	r := actorstest.New(t)
	noFault(t, r)
	r.Start(linkPath, tcplink.Kind, &modbusv1.TcpLink{Address: at, InFlight: 8, MaxBackoff: ms(20)})
	cfg := config()
	cfg.Points = nil
	r.Start(unitPath, modbusunit.Kind, cfg)
	stop, cutting := make(chan struct{}), sync.WaitGroup{}
	cutting.Go(func() {
		for {
			select {
			case <-stop:
				return
			case c := <-conns:
				<-time.After(time.Duration(rand.IntN(15)) * time.Millisecond)
				_ = c.Close()
			}
		}
	})
	var all sync.WaitGroup
	confirmed, unsure, unsent := 0, 0, 0
	for i := range 8 {
		all.Go(func() {
			for n := 0; n < 20; {
				address := uint16(i*20 + n)
				_, err := call(r, "WriteRegisters", &modbusv1.WriteRegistersRequest{Address: proto.Uint32(uint32(address)), Values: []uint32{7}}, &modbusv1.WriteRegistersResponse{})
				mu.Lock()
				times := done[address]
				switch {
				case times > 1:
					t.Errorf("register %d was written %d times", address, times)
				case err == nil:
					confirmed, n = confirmed+1, n+1
					if times != 1 {
						t.Errorf("register %d was confirmed and not written", address)
					}
				case strings.Contains(err.Error(), "may or may not"):
					unsure, n = unsure+1, n+1
				default:
					unsent++
					if times != 0 {
						t.Errorf("register %d was written: %v", address, err)
					}
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	close(stop)
	cutting.Wait()
	t.Logf("%d confirmed, %d unsure, %d not sent", confirmed, unsure, unsent)
	if confirmed == 0 {
		t.Error("none was confirmed")
	}
}
