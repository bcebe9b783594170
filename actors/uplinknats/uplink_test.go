package uplinknats_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/actorstest/uplinktest"
	"gatewayd/actors/uplinknats"
	"gatewayd/protocols/record"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

const path = "uplinks/hub"

func TestManners(t *testing.T) {
	actorstest.Conform(t, uplinknats.Kind, &uplinkv1.UplinkNats{Urls: []string{"nats://127.0.0.1:9"}})
}

// hub runs a NATS server with JetStream until stop.
func hub(t *testing.T, dir string, port int) (s *server.Server, stop func()) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(actorstest.Patience) {
		t.Fatal("the server does not start")
	}
	stop = func() { s.Shutdown(); s.WaitForShutdown() }
	t.Cleanup(stop)
	return s, stop
}

// stream returns the stream at the hub, which it creates if necessary.
func stream(t *testing.T, s *server.Server) jetstream.Stream {
	t.Helper()
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), actorstest.Patience)
	defer cancel()
	st, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "SITES", Subjects: []string{"gatewayd.>"}, MaxMsgSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func count(t *testing.T, st jetstream.Stream) uint64 {
	ctx, cancel := context.WithTimeout(context.Background(), actorstest.Patience)
	defer cancel()
	info, err := st.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return info.State.Msgs
}

// write stores n records of a track, beginning with sequence first; the record with sequence long
// has a text that is too long.
func write(t *testing.T, r *actorstest.Rig, first, n, long uint64) {
	t.Helper()
	uplinktest.Keep(t, r, record.Chunk{Track: "tracks/energy", Number: 1, First: first, Count: n, Boot: "b"}, func(s uint64) []record.Field {
		f := record.Field{Name: "power", ID: 1, Value: 1.5}
		if s == long {
			f.Value = strings.Repeat("x", 5000)
		}
		return []record.Field{f}
	})
}

func config(s *server.Server) *uplinkv1.UplinkNats {
	return &uplinkv1.UplinkNats{Urls: []string{s.ClientURL()}, Send: &uplinkv1.Sending{Flush: durationpb.New(0), MaxBackoff: durationpb.New(5 * time.Millisecond)}}
}

// A hub that goes down and comes back has each record once, in order, except the one that it does
// not accept.
func TestRecordsReachAHub(t *testing.T) {
	dir := t.TempDir()
	s, stop := hub(t, dir, -1)
	port := s.Addr().String()
	st := stream(t, s)
	r := actorstest.New(t)
	rejected := actorstest.Watch(r, "event/"+path+"/rejected", &uplinkv1.Rejected{})
	cell := r.Start(path, uplinknats.Kind, config(s))
	write(t, r, 1, 700, 77)
	r.Until("they are there", func() bool { return count(t, st) == 699 })
	if m := actorstest.Next(t, rejected); m.Record != "tracks/energy 77" {
		t.Errorf("%v", m)
	}
	stop()
	r.Until("the hub is missed", func() bool { return cell.State() == actors.Unreachable })
	write(t, r, 701, 300, 0)
	s, _ = hub(t, dir, portOf(t, port))
	st = stream(t, s)
	r.Until("the rest is there", func() bool { return count(t, st) == 999 })
	ctx, cancel := context.WithTimeout(context.Background(), actorstest.Patience)
	defer cancel()
	want := uint64(1)
	for i := uint64(1); i <= 999; i++ {
		m, err := st.GetMsg(ctx, i)
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ Sequence uint64 }
		if want == 77 {
			want++
		}
		if err := json.Unmarshal(m.Data, &got); err != nil || got.Sequence != want || m.Subject != "gatewayd.test.tracks.energy" {
			t.Fatalf("%d: %v, %s %s", i, err, m.Subject, m.Data)
		}
		want++
	}
	if cell.Life() != 1 {
		t.Errorf("life %d", cell.Life())
	}
}

func portOf(t *testing.T, address string) (port int) {
	t.Helper()
	for _, c := range address[strings.LastIndexByte(address, ':')+1:] {
		port = port*10 + int(c-'0')
	}
	return port
}

func TestWhereNoStreamIs(t *testing.T) {
	s, _ := hub(t, t.TempDir(), -1)
	r := actorstest.New(t)
	cell := r.Start(path, uplinknats.Kind, config(s))
	write(t, r, 1, 5, 0)
	r.Until("that is told", func() bool {
		return cell.State() == actors.Unreachable && cell.Health().Cause == "no stream has subject gatewayd.test.tracks.energy"
	})
	st := stream(t, s)
	r.Until("with a stream all is there", func() bool { return count(t, st) == 5 && cell.State() == actors.OK })
}
