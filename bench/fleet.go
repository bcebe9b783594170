package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"gatewayd/bus"
	"gatewayd/bus/hubtest"
	"gatewayd/protocols/pki"
)

const (
	hubFlag    = "--hub-node"
	fleetSize  = 200 // unless GATEWAYD_BENCH_FLEET says otherwise
	fleetNodes = 3
	fleetHold  = 15 * time.Second // length of the measurement without faults
	fleetCut   = 3 * time.Second
	fleetLong  = 30 * time.Second
)

// fleet is the figure of many gateways at one hub. Each gateway is a process with a whole bus. One
// of the hub's three servers is killed, then all are stopped for a while, then all are killed and
// stay away for longer.
func fleet(ctx context.Context, b *bench) error {
	size := fleetSize
	if n, err := strconv.Atoi(os.Getenv("GATEWAYD_BENCH_FLEET")); err == nil {
		size = n
	}
	f, err := newFleet(ctx, b.dir, size, "127.0.0.1")
	defer f.end()
	if err != nil {
		return err
	}
	if f.shard, err = strconv.Atoi(os.Getenv("GATEWAYD_BENCH_SHARD")); err != nil {
		f.shard = fleetShard
	}
	for _, step := range []func(*bench) error{f.empty, f.joined, f.quiet, f.source, f.quiet, f.kill, f.pause, f.away, f.account} {
		if err := step(b); err != nil {
			return err
		}
	}
	return nil
}

// party is a hub with its gateways.
type party struct {
	ctx      context.Context
	dir      string
	address  string // of the hub, for gateways
	ids      []string
	nodes    []*hubtest.Node
	servers  []*process
	gateways []*process
	shard    int        // gateways sourced by one stream of the hub
	most     int        // largest number of connections the servers counted at the same time
	sys      *nats.Conn // connection to the system account, which sees the servers
	admin    *nats.Conn // connection to the gateways' account
	ops      *bus.Conn
}

// newFleet starts a hub that gateways reach at an address of this machine.
func newFleet(ctx context.Context, dir string, n int, address string) (f *party, err error) {
	f = &party{ctx: ctx, dir: dir, address: address}
	users := ""
	for i := range n {
		id := fmt.Sprintf("site-%d", i+1)
		public, err := bus.LeafKey(f.key(id))
		if err != nil {
			return f, err
		}
		g, err := (&bus.Leaf{Calls: siteCalls, Tracks: siteTracks}).Grant(id)
		if err != nil {
			return f, err
		}
		f.ids, users = append(f.ids, id), users+hubtest.Gateway(public, g)
	}
	public, err := bus.LeafKey(f.key("ops"))
	if err != nil {
		return f, err
	}
	authority, err := pki.Create(filepath.Join(dir, "pki"), "hub", time.Now())
	if err != nil {
		return f, err
	}
	if _, err := authority.Issue(pki.CertificateRequest{Name: "hub", Hosts: []string{"127.0.0.1", address}, Validity: 24 * time.Hour}, time.Now()); err != nil {
		return f, err
	}
	own := authority.File("hub.pem")
	hub := hubtest.Cluster{Dir: dir, Users: users + hubtest.User(public, bus.OperatorGrant()), TLS: fmt.Sprintf("cert_file: %q, key_file: %q, timeout: 10", own, own)}
	if f.nodes, err = hub.Write(fleetNodes); err != nil {
		return f, err
	}
	for i, n := range f.nodes {
		if err := openTo(n.File, address); err != nil {
			return f, err
		}
		if err := f.serve(i); err != nil {
			return f, err
		}
	}
	return f, f.connect()
}

func (f *party) key(id string) string { return filepath.Join(f.dir, "keys", id+".nk") }

// serve starts a server of the hub, or restarts it.
func (f *party) serve(i int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p, err := launch(filepath.Join(f.dir, fmt.Sprintf("hub-%d.log", i+1)), self, hubFlag, f.nodes[i].File)
	if err == nil && i < len(f.servers) {
		f.servers[i] = p
	} else if err == nil {
		f.servers = append(f.servers, p)
	}
	return err
}

// hubServer runs a server of the hub in this process.
func hubServer(file string) error {
	o, err := server.ProcessConfigFile(file)
	if err != nil {
		return err
	}
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.Start()
	s.WaitForShutdown()
	return nil
}

func (f *party) connect() (err error) {
	var urls []string
	for _, n := range f.nodes {
		urls = append(urls, n.URL)
	}
	all := strings.Join(urls, ",")
	again := []nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(100 * time.Millisecond), nats.RetryOnFailedConnect(true)}
	if f.sys, err = nats.Connect(all, append(again, nats.UserInfo("sys", "secret"))...); err != nil {
		return err
	}
	if f.admin, err = nats.Connect(all, append(again, nats.UserInfo("admin", "secret"))...); err != nil {
		return err
	}
	js, err := jetstream.New(f.admin)
	if err != nil {
		return err
	}
	err = until("a stream at the hub", time.Minute, func() bool {
		ctx, cancel := context.WithTimeout(f.ctx, 2*time.Second)
		defer cancel()
		_, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name: "SITES", Subjects: []string{"sites.>"}, Replicas: fleetNodes, Storage: jetstream.FileStorage, Duplicates: 10 * time.Minute, AllowAtomicPublish: true,
		})
		return err == nil
	})
	if err != nil {
		return err
	}
	f.ops, err = bus.Dial(bus.Options{URL: all, NKeyFile: f.key("ops"), Hub: true})
	if err != nil {
		return err
	}
	return f.ops.Roster(f.ctx, fleetNodes)
}

func (f *party) end() {
	for _, p := range append(f.gateways, f.servers...) {
		_ = p.Process.Kill()
		_ = p.Wait()
	}
	if f.ops != nil {
		f.ops.Close()
	}
	for _, nc := range []*nats.Conn{f.sys, f.admin} {
		if nc != nil {
			nc.Close()
		}
	}
}

// varz is the status of a server of the hub.
type varz struct {
	Server struct{ Name string }
	Data   struct {
		Mem           int64   `json:"mem"`
		Leafs         int     `json:"leafnodes"`
		Connections   int     `json:"connections"`
		Subscriptions int     `json:"subscriptions"`
		InMsgs        int64   `json:"in_msgs"`
		OutMsgs       int64   `json:"out_msgs"`
		CPU           float64 `json:"cpu"`
		JetStream     struct {
			Stats struct {
				API struct{ Total uint64 }
			}
		} `json:"jetstream"`
	}
}

// look returns the status of all servers of the hub that answer.
func (f *party) look() (all []varz) {
	box := f.sys.NewInbox()
	sub, err := f.sys.SubscribeSync(box)
	if err != nil {
		return nil
	}
	defer func() { _ = sub.Unsubscribe() }()
	_ = f.sys.PublishRequest("$SYS.REQ.SERVER.PING.VARZ", box, nil)
	for range f.nodes {
		m, err := sub.NextMsg(300 * time.Millisecond)
		if err != nil {
			break
		}
		var v varz
		if json.Unmarshal(m.Data, &v) == nil {
			all = append(all, v)
		}
	}
	return all
}

// leafs returns the number of connected gateways.
func (f *party) leafs() (n int) {
	for _, v := range f.look() {
		n += v.Data.Leafs
	}
	f.most = max(f.most, n)
	return n
}

// answering returns the number of gateways that answer through the hub.
func (f *party) answering() (n int) {
	ctx, cancel := context.WithTimeout(f.ctx, 5*time.Second)
	defer cancel()
	words, _ := f.ops.Ask(ctx, f.ids, time.Second)
	for _, w := range words {
		if w.Answered {
			n++
		}
	}
	return n
}

// empty measures the hub before any gateway has joined.
func (f *party) empty(b *bench) error {
	b.say(row{Figure: "memory of the largest server of an empty hub", Value: mb(f.largest())})
	return nil
}

// largest returns the memory of the largest server.
func (f *party) largest() (rss int64) {
	for _, p := range f.servers {
		if u, err := p.usage(); err == nil {
			rss = max(rss, u.rss)
		}
	}
	return rss
}

// joined starts the gateways and waits until all are connected and their tracks are sourced.
func (f *party) joined(b *bench) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var leafs, urls []string
	for _, n := range f.nodes {
		leafs, urls = append(leafs, strings.Replace(n.Leaf, "127.0.0.1", f.address, 1)), append(urls, strings.Replace(n.URL, "127.0.0.1", f.address, 1))
	}
	began := time.Now()
	for i, id := range f.ids {
		dir := filepath.Join(f.dir, "gw", id)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		p, err := launch(filepath.Join(dir, "log"), self, siteFlag, id, dir, f.key(id), strings.Join(leafs, ","), strings.Join(urls, ","))
		if err != nil {
			return err
		}
		f.gateways = append(f.gateways, p)
		if (i+1)%fleetTogether != 0 {
			continue
		}
		if err := until("they join", 2*time.Minute, func() bool { return f.leafs() >= i+1 }); err != nil {
			return fmt.Errorf("%w: %d of %d", err, f.leafs(), i+1)
		}
	}
	if err := until("all gateways answer", 3*time.Minute, func() bool { return f.answering() == len(f.ids) }); err != nil {
		return fmt.Errorf("%w: %d of %d", err, f.answering(), len(f.ids))
	}
	b.say(row{Figure: fmt.Sprintf("%d gateways, a process each, start and join", len(f.ids)), Value: time.Since(began).Round(100 * time.Millisecond).String()})
	return nil
}

// source makes streams of the hub source the tracks.
func (f *party) source(b *bench) error {
	began := time.Now()
	for part := range (len(f.ids) + f.shard - 1) / f.shard {
		ids := f.ids[part*f.shard : min((part+1)*f.shard, len(f.ids))]
		if _, _, err := f.ops.Sourcing(f.ctx, sourceStream(part), fleetNodes, ids, nil); err != nil {
			return err
		}
	}
	if err := until("all tracks are sourced", 2*time.Minute, func() bool { n, _ := f.behind(); return n == 0 }); err != nil {
		return err
	}
	b.say(row{Figure: fmt.Sprintf("%d streams source their tracks, %d gateways each", (len(f.ids)+f.shard-1)/f.shard, f.shard), Value: "after " + time.Since(began).Round(100*time.Millisecond).String()})
	return nil
}

// fleetTogether is how many processes start at the same time. Real sites have a machine each; these
// share one.
const fleetTogether = 10

// fleetShard is how many gateways a stream of the hub sources, unless GATEWAYD_BENCH_SHARD says
// otherwise.
const fleetShard = 50

func sourceStream(part int) string { return "TRACKS-" + strconv.Itoa(part+1) }

// signal sends a signal to all servers of the hub.
func (f *party) signal(s syscall.Signal) error {
	var errs []error
	for _, p := range f.servers {
		errs = append(errs, p.Process.Signal(s))
	}
	return errors.Join(errs...)
}
