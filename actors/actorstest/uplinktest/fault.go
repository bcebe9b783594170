// Package uplinktest tests an uplink kind with the faults that links and far ends have in the
// field. It checks at the far end that no record is missing, changed or out of order, and that
// there are no duplicates if the far end removes them.
package uplinktest

import (
	"flag"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	tlsv1 "gatewayd/schemas/tls/v1"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

var flap = flag.Duration("flap", 2*time.Second, "how long the link of a kind of uplink goes and comes; with a minute or more it does so every 2 s")

// A Far is the far end of one test.
type Far struct {
	// Address is host:port, without TLS. The far end must refuse texts that begin with Poison, or
	// all that have more than 20,000 bytes.
	Address string
	// Config returns the config of an uplink to this far end at an address, over TLS unless files
	// is nil. Its Send must not be nil.
	Config func(address string, files *tlsv1.Client) Config
	Got    func() []Item // everything accepted, in the order of arrival
	Once   bool          // the far end removes duplicates itself
	// Greet passes on what is sent before TLS begins; nil: nothing.
	Greet func(near, far net.Conn) error
}

// Config is the config of any uplink.
type Config interface {
	proto.Message
	GetSend() *uplinkv1.Sending
}

// trial is an uplink with a far end and the link in between.
type trial struct {
	*testing.T
	account
	link *link
	kind actors.Kind
	cell *actors.Cell
}

const path = "uplinks/cloud"

// Faults tests a kind. run starts a far end that lasts as long as the test it gets.
func Faults(t *testing.T, kind actors.Kind, run func(t *testing.T) Far) {
	for name, fault := range map[string]func(*trial){
		"falls silent": silent, "half open": halfOpen, "slow": slow, "refuses one record": refusing, "refuses the first": refusingFirst,
		"refuses all there is": refusingAll, "closes after each message": closing,
		"breaks in the middle": breaking, "certificates expired": expired, "flapping": flapping,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // the tests wait most of the time
			far := run(t)
			x := &trial{T: t, kind: kind, link: newLink(t, far.Address)}
			x.account = account{t: t, r: actorstest.New(t), far: &far, refused: map[uint64]bool{}}
			fault(x)
			if x.cell.Life() != 1 {
				t.Errorf("life %d", x.cell.Life())
			}
		})
	}
}

// start starts the uplink.
func (x *trial) start(change func(*uplinkv1.Sending), files *tlsv1.Client) {
	x.Helper()
	cfg := x.far.Config(x.link.address(), files)
	s := cfg.GetSend()
	s.Flush, s.MaxBackoff, s.Timeout, s.BatchRecords = durationpb.New(0), durationpb.New(5*time.Millisecond), durationpb.New(20*time.Second), 20
	if change != nil {
		change(s)
	}
	x.cell = x.r.Start(path, x.kind, cfg)
}

func hasty(s *uplinkv1.Sending) { s.Timeout = durationpb.New(time.Second) }

// silent has a far end that stops answering on all connections until it is restarted.
func silent(x *trial) {
	x.start(hasty, nil)
	x.write(50)
	x.settled()
	x.link.ignore(true)
	x.link.hang()
	before := x.link.connections()
	x.write(50)
	x.r.Until("it gives the connection up", func() bool { return x.cell.State() == actors.Unreachable })
	x.r.Until("it tries another one", func() bool { return x.link.connections() > before })
	x.write(50)
	x.link.ignore(false)
	x.link.cut()
	x.settled()
}

// halfOpen has a connection of which only one side knows that it has ended.
func halfOpen(x *trial) {
	x.start(hasty, nil)
	for range 2 {
		x.write(30)
		x.settled()
		x.link.hang()
		before := x.link.connections()
		x.write(30)
		x.r.Until("it makes another one", func() bool { return x.link.connections() > before })
		x.settled()
	}
}

// slow has a link of a few kilobytes a second.
func slow(x *trial) {
	x.link.goes(way{perSecond: 20_000})
	x.write(100)
	x.start(nil, nil)
	x.settled()
}

// refusing has a far end that accepts all but one record.
func refusing(x *trial) {
	x.refused[37] = true
	rejected := actorstest.Watch(x.r, "event/"+path+"/rejected", &uplinkv1.Rejected{})
	x.write(30)
	x.start(nil, nil)
	x.settled()
	x.write(30)
	if m := actorstest.Next(x.T, rejected); m.Record != tracks[0]+" 37" || m.Why == "" {
		x.Errorf("%v", m)
	}
	x.settled()
	x.write(5)
	x.settled()
}

// refusingFirst has a far end that refuses the first 21 records of a track. That is more than an
// uplink tries before its first pause.
func refusingFirst(x *trial) {
	for s := range uint64(21) {
		x.refused[s+1] = true
	}
	x.write(25)
	x.start(nil, nil)
	x.settled()
}

// refusingAll has a far end that refuses all records stored before the uplink starts, which are
// more than the uplink reads ahead, but accepts later ones. Until then no record may be skipped,
// because the far end might be misconfigured and be corrected some day.
func refusingAll(x *trial) {
	x.alone = true
	for s := range uint64(15) {
		x.refused[s+1] = true
	}
	for range 3 {
		x.write(5)
	}
	x.start(func(s *uplinkv1.Sending) { s.BatchRecords = 5 }, nil)
	x.r.Until("it has tried many", func() bool { return Status(x.T, x.r, path).Counts.Retries > 40 })
	if s := Status(x.T, x.r, path); s.Counts.Rejected+s.Counts.Acknowledged != 0 || s.Backlog.Records != 15 || x.cell.State() != actors.Unreachable {
		x.Errorf("%v", s)
	}
	x.alone = false
	x.write(5)
	x.settled()
}

// closing has a far end that closes the connection whenever it has accepted something new.
func closing(x *trial) {
	x.write(60)
	x.start(nil, nil)
	for had := 0; ; {
		var complete bool
		x.r.Until("something new is there", func() bool {
			var n int
			complete, n = x.balance()
			more := n > had
			had = max(had, n)
			return more || complete
		})
		x.link.cut()
		if complete {
			break
		}
	}
	x.settled()
}

// breaking has a link that cuts each connection at a random point, possibly within a message.
func breaking(x *trial) {
	x.link.goes(way{breaks: true})
	x.start(nil, nil)
	for x.link.connections() < 4 {
		x.write(80)
		x.settled()
	}
}

// flapping has a link that goes up and down all the time.
func flapping(x *trial) {
	every := 100 * time.Millisecond
	x.start(func(s *uplinkv1.Sending) {
		if *flap >= time.Minute {
			every = 2 * time.Second
			s.MaxBackoff = durationpb.New(time.Second)
		}
	}, nil)
	clock := time.NewTicker(every)
	defer clock.Stop()
	for began, up := time.Now(), false; time.Since(began) < *flap; up = !up {
		x.link.set(up)
		x.write(20)
		<-clock.C
	}
	x.link.set(true)
	x.settled()
	x.Logf("%d records through %d connections", x.recorded, x.link.connections())
}

// says waits until the uplink reports one of these texts about its far end.
func (x *trial) says(texts ...string) {
	x.Helper()
	x.r.Until("it says "+strings.Join(texts, " or "), func() bool {
		said := Status(x.T, x.r, path).Error
		return slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(said, s) }) && x.cell.State() == actors.Unreachable
	})
}
