// Package hubtest runs the hub of a fleet for tests: a NATS cluster of real servers with JetStream,
// configured by files as an integrator's would be.
package hubtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"gatewayd/bus"
	"gatewayd/protocols/freeport"
)

// Hub is a cluster.
type Hub struct {
	t     *testing.T
	Nodes []*Node
	all   Cluster
}

// Node is one server of a Hub.
type Node struct {
	File   string // its config
	URL    string // for clients
	Leaf   string // for gateways
	server *server.Server
}

// Cluster holds what the configs of all servers have in common.
type Cluster struct {
	Dir   string
	Users string // users of account FLEET
	TLS   string // body of the tls block of the listener for gateways; empty: none
}

// Patience is how long a test waits for an expected event.
const Patience = time.Minute

// Gateway returns the user entry of a gateway with an nkey.
func Gateway(public string, g bus.Grant) string {
	return strings.Replace(User(public, g), "permissions", `allowed_connection_types: ["LEAFNODE"], permissions`, 1)
}

// User returns the user entry of a client with an nkey.
func User(public string, g bus.Grant) string {
	quoted := func(all []string) string { return `"` + strings.Join(all, `", "`) + `"` }
	return fmt.Sprintf("{ nkey: %s, permissions: { publish: [%s], subscribe: [%s] } }\n", public, quoted(g.Publish), quoted(g.Subscribe))
}

// Write writes the configs of n servers that are routed to each other.
func (c Cluster) Write(n int) (nodes []*Node, err error) {
	var ports [][3]string
	var routes []string
	for range n {
		var three [3]string
		for i := range three {
			if three[i], err = free(); err != nil {
				return nil, err
			}
		}
		ports, routes = append(ports, three), append(routes, "nats://"+three[1])
	}
	tls, scheme := "", "nats://"
	if c.TLS != "" {
		tls, scheme = "\n  tls { "+c.TLS+" }", "tls://"
	}
	for i, p := range ports {
		text := fmt.Sprintf(`server_name: hub-%d
listen: "%s"
jetstream { store_dir: "%s/hub-%d", max_file_store: 1GB, max_memory_store: 64MB }
feature_flags { js_api_reply_v2: true }
leafnodes {
  listen: "%s"
  compression: disabled
  authorization { timeout: 10 }%s
}
accounts {
  FLEET {
    jetstream: enabled
    users = [
      { user: admin, password: secret }
      %s
    ]
  }
  SYS { users = [ { user: sys, password: secret } ] }
}
system_account: SYS
`, i+1, p[0], c.Dir, i+1, p[2], tls, c.Users)
		if n > 1 {
			text += fmt.Sprintf("cluster { name: hub, listen: \"%s\", routes: [\"%s\"] }\n", p[1], strings.Join(routes, `", "`))
		}
		node := &Node{File: filepath.Join(c.Dir, fmt.Sprintf("hub-%d.conf", i+1)), URL: "nats://" + p[0], Leaf: scheme + p[2]}
		if err := os.WriteFile(node.File, []byte(text), 0o600); err != nil {
			return nil, err
		}
		nodes = append(nodes, node)
	}
	return nodes, nil
}

// free returns an unused address of this machine.
func free() (string, error) {
	port, err := freeport.Find()
	return fmt.Sprint("127.0.0.1:", port), err
}

// Start starts n servers with these users in account FLEET, and a user admin with all permissions.
func Start(t *testing.T, n int, users, tls string) *Hub {
	t.Helper()
	h := &Hub{t: t, all: Cluster{Dir: t.TempDir(), Users: users, TLS: tls}}
	var err error
	if h.Nodes, err = h.all.Write(n); err != nil {
		t.Fatal(err)
	}
	for i := range h.Nodes {
		h.Run(i)
	}
	t.Cleanup(func() {
		for i := range h.Nodes {
			h.Stop(i)
		}
	})
	admin := h.Client(0)
	Until(t, "JetStream is ready", func() bool {
		m, err := admin.Request("$JS.API.INFO", nil, time.Second)
		return err == nil && !strings.Contains(string(m.Data), `"error"`)
	})
	return h
}

// Run starts a server, always on the same ports and with the same store.
func (h *Hub) Run(i int) {
	h.t.Helper()
	o, err := server.ProcessConfigFile(h.Nodes[i].File)
	if err != nil {
		h.t.Fatal(err)
	}
	o.NoSigs, o.NoLog = true, true
	s, err := server.NewServer(o)
	if err != nil {
		h.t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(Patience) {
		h.t.Fatalf("server %d of the hub does not start", i)
	}
	h.Nodes[i].server = s
}

// Stop stops a server.
func (h *Hub) Stop(i int) {
	if s := h.Nodes[i].server; s != nil {
		s.Shutdown()
		s.WaitForShutdown()
		h.Nodes[i].server = nil
	}
}

// Gateways returns how many leaf nodes server i has.
func (h *Hub) Gateways(i int) int {
	if s := h.Nodes[i].server; s != nil {
		return s.NumLeafNodes()
	}
	return 0
}

// Leafs returns the URLs of the hub for gateways.
func (h *Hub) Leafs() (all []string) {
	for _, n := range h.Nodes {
		all = append(all, n.Leaf)
	}
	return all
}

// Client connects as a user of account FLEET with all permissions; it reconnects to whichever
// server runs.
func (h *Hub) Client(first int) *nats.Conn {
	h.t.Helper()
	urls := h.Nodes[first].URL
	for _, n := range h.Nodes {
		urls += "," + n.URL
	}
	nc, err := nats.Connect(urls, nats.UserInfo("admin", "secret"), nats.DontRandomize(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.RetryOnFailedConnect(true))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(nc.Close)
	return nc
}

// Until waits until ok returns true.
func Until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// Key creates a key and returns the file of its seed and its public half.
func Key(t *testing.T) (file, public string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "user.nk")
	public, err := bus.NewKey(file)
	if err != nil {
		t.Fatal(err)
	}
	return file, public
}
