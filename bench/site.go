package main

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/actors/uplinknats"
	"gatewayd/bus"
	"gatewayd/protocols/record"
	"gatewayd/protocols/tlsfiles"
	"gatewayd/schemas"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	uplinkv1 "gatewayd/schemas/uplink/v1"
	"gatewayd/supervisor"
	"gatewayd/supervisor/config"
)

const (
	siteFlag  = "--site"
	siteEvery = 5 * time.Second // interval of the records of its track
	siteTrack = "tracks/energy"
)

// What the hub may call and source at a site.
var (
	siteCalls  = []string{"cmd/#"}
	siteTracks = []string{"#"}
)

// site is a light gateway: a whole bus with its store, a leaf of the hub, a growing track, and an
// uplink of kind uplink-nats. It writes the number of each record that its store has acknowledged
// to a file, one per line: the ledger, which no fault of the hub affects.
func site(args []string) error {
	id, dir, key, leafs, urls := args[0], args[1], args[2], strings.Split(args[3], ","), strings.Split(args[4], ",")
	tls, err := (tlsfiles.Client{CA: filepath.Join(dir, "../../pki/ca.crt")}).Config("")
	if err != nil {
		return err
	}
	leaf := &bus.Leaf{URLs: leafs, Key: key, TLS: tls, Calls: siteCalls, Tracks: siteTracks}
	b, err := bus.Start(bus.Config{Gateway: id, Dir: filepath.Join(dir, "bus"), MaxStore: 16 << 20, MaxTracks: 16 << 20, Leaf: leaf, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))})
	if err != nil {
		return err
	}
	sys := actors.NewSystem(id, b.Conn(), quiet)
	if _, err := sys.Serve(); err != nil {
		return err
	}
	tree := supervisor.New(supervisor.Options{System: sys, Kinds: []actors.Kind{uplinknats.Kind}, Starve: func(string, string) {}})
	if err := tree.Start(siteConfig(id, urls)); err != nil {
		return err
	}
	ledger, err := os.Create(filepath.Join(dir, "ledger"))
	if err != nil {
		return err
	}
	stop := filepath.Join(filepath.Dir(dir), "stop")
	boot := fmt.Sprint(time.Now().UnixNano())
	began := time.Now()
	for n := uint64(1); ; n++ {
		if _, err := os.Stat(stop); err != nil {
			if err := siteRecord(b, boot, n, time.Since(began)); err != nil {
				return err
			}
			if _, err := fmt.Fprintln(ledger, n); err != nil {
				return err
			}
		} else {
			n--
		}
		health := &gatewayv1.Standing{Version: "bench", Health: actors.OK, Actors: 1}
		if err := b.Conn().Publish(bus.Subject(id, bus.State, "bus", bus.Standing), health); err != nil {
			return err
		}
		time.Sleep(siteEvery)
	}
}

// siteRecord stores one record, and returns when it is on disk.
func siteRecord(b *bus.Bus, boot string, n uint64, up time.Duration) error {
	p, err := record.Encode(&record.Chunk{Track: siteTrack, Number: 1, First: n, Count: 1, Boot: boot, Records: []record.Record{{
		Track: siteTrack, Sequence: n, Boot: boot, Time: time.Now(), Trusted: true, Uptime: up,
		Fields: []record.Field{{Name: "power", ID: 1, Unit: "W", Value: float64(n)}, {Name: "energy", ID: 2, Unit: "kWh", Value: n}},
	}}})
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	b.Conn().Keep(bus.Subject(b.Gateway(), bus.Track, siteTrack, "records"), record.ChunkType, p, bus.Normal, func(_ uint64, err error) { done <- err })
	return <-done
}

func siteConfig(id string, urls []string) *config.Tree {
	top := &gatewayv1.Gateway{Gateway: id}
	schemas.Defaults(top)
	up := &uplinkv1.UplinkNats{Urls: urls, Username: "admin", Password: "secret", Subject: "sites.${gateway}.${track}", Stream: "SITES",
		Send: &uplinkv1.Sending{Flush: durationpb.New(time.Second), MaxBackoff: durationpb.New(5 * time.Second), Timeout: durationpb.New(5 * time.Second)}}
	schemas.Defaults(up)
	g := group("uplinks")
	g.Children = []*config.Node{{Path: "uplinks/hub", Kind: "uplink-nats", Config: up}}
	return &config.Tree{Root: &config.Node{Config: top, Children: []*config.Node{g}}}
}

// acknowledged returns the last number in the ledger of a gateway.
func acknowledged(dir string) (n uint64, err error) {
	f, err := os.Open(filepath.Join(dir, "ledger"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		var m uint64
		if _, err := fmt.Sscan(s.Text(), &m); err != nil {
			return 0, err
		}
		if m != n+1 {
			return 0, errors.New("the ledger itself has a gap")
		}
		n = m
	}
	return n, s.Err()
}
