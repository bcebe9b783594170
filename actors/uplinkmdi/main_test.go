package uplinkmdi_test

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors/actorstest"
	"gatewayd/protocols/mdi"
	"gatewayd/protocols/record"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

func TestMain(m *testing.M) { actorstest.Main(m) }

const path = "uplinks/cloud"

// cloud is a receiver that can be stopped and started at one address.
type cloud struct {
	t       *testing.T
	address string
	sink    *mdi.Sink
	stop    func()

	mu       sync.Mutex
	taken    map[string][]uint64 // by gateway and track
	outcomes chan string
	refuse   func(record.Record) bool
}

func newCloud(t *testing.T) *cloud {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cloud{t: t, address: l.Addr().String(), taken: map[string][]uint64{}, outcomes: make(chan string, 10)}
	c.forget()
	c.serve(l, nil)
	t.Cleanup(func() { c.stop() })
	return c
}

// forget replaces the receiver by one without memory.
func (c *cloud) forget() {
	c.sink = mdi.NewSink(mdi.SinkConfig{Window: 8, Take: c.take, Outcome: func(_ string, _ uint32, payload []byte, failed string) {
		c.outcomes <- string(payload) + failed
	}})
}

func (c *cloud) serve(l net.Listener, secure *tls.Config) {
	if secure != nil {
		l = tls.NewListener(l, secure)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	sink := c.sink
	go func() { defer close(done); _ = sink.Serve(ctx, l) }()
	c.stop = func() { cancel(); <-done }
}

// again listens at the same address again.
func (c *cloud) again() {
	c.t.Helper()
	l, err := net.Listen("tcp", c.address)
	if err != nil {
		c.t.Fatal(err)
	}
	c.forget()
	c.serve(l, nil)
}

func (c *cloud) take(gateway string, all []record.Record) (map[int]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	no := map[int]string{}
	for i, r := range all {
		if c.refuse != nil && c.refuse(r) {
			no[i] = "it has a bad taste"
			continue
		}
		key := gateway + " " + r.Track
		c.taken[key] = append(c.taken[key], r.Sequence)
	}
	return no, nil
}

func (c *cloud) sequences(track string) []uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.taken[actorstest.Gateway+" "+track])
}

func (c *cloud) config() *uplinkv1.UplinkMdi {
	return &uplinkv1.UplinkMdi{
		Url: "tcp://" + c.address, KeepAlive: durationpb.New(time.Second),
		Send: &uplinkv1.Sending{Flush: durationpb.New(0), MaxBackoff: durationpb.New(10 * time.Millisecond)},
	}
}
