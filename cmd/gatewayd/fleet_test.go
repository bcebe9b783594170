package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rogpeppe/go-internal/testscript"
)

// natsServer runs nats-server, from the module on which the bus is built, as the server of a hub.
func natsServer() {
	if len(os.Args) != 3 || os.Args[1] != "-c" {
		fmt.Fprintln(os.Stderr, "usage: nats-server -c FILE")
		os.Exit(2)
	}
	o, err := server.ProcessConfigFile(os.Args[2])
	if err == nil {
		var s *server.Server
		if s, err = server.NewServer(o); err == nil {
			s.ConfigureLogger()
			s.Start()
			s.WaitForShutdown()
			return
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// TestFleetPage runs the commands of docs/fleet.md literally, with a hub and a gateway on this
// machine.
func TestFleetPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/fleet.md")
	if err != nil {
		t.Fatal(err)
	}
	places := strings.NewReplacer(
		"nats://hub.example.com:4222", "nats://127.0.0.1:$CLIENTS", "tls://hub.example.com:7422", "tls://127.0.0.1:$LEAFS",
		"0.0.0.0:4222", "127.0.0.1:$CLIENTS", "0.0.0.0:7422", "127.0.0.1:$LEAFS",
		"# the output of fleet creds goes here", "$USERS",
	)
	script, files := "certs\nenv gateway='${gateway}'\nfreeport CLIENTS\nfreeport LEAFS\nsubst site-7.toml fleet.toml\n", "-- fleet.toml --\n"+places.Replace(fleetConfig)
	for _, m := range regexp.MustCompile("(?s)```(\\w+) ?([a-z0-9.-]*)\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		kind, file, body := m[1], m[2], m[3]
		if kind != "sh" {
			if file != "uplink.toml" { // a part of a config, which the page about uplinks has in full
				files += "-- " + file + " --\n" + places.Replace(body)
			}
			continue
		}
		for line := range strings.Lines(body) {
			command, _, _ := strings.Cut(places.Replace(line), " #")
			script += fleetLine(strings.TrimSpace(command))
		}
	}
	file := filepath.Join(t.TempDir(), "fleet.txtar")
	if err := os.WriteFile(file, []byte(script+files), 0o600); err != nil {
		t.Fatal(err)
	}
	p := scripts()
	p.Dir, p.Files = "", []string{file}
	testscript.Run(t, p)
}

// fleetConfig is the config of site-7 as a template for many gateways, with another period. The
// page does not have it.
const fleetConfig = `gateway = "${gateway}"

[bus]
kind = "bus"

[bus.leaf]
urls        = ["tls://hub.example.com:7422"]
tls.ca-file = "ca.pem"
nkey-file   = "keys/${gateway}.nk"
calls       = ["cmd/#"]
tracks      = ["tracks/#"]

[tracks.energy]
kind   = "track"
number = 1
fields = [{ from = "field/+/+/power", policy = "periodic-on-change", period = "1m", deadband-percent = 2, unit = "W" }]
`

// fleetLine returns a command of the page as a line of a script.
func fleetLine(command string) string {
	creds, into, redirected := strings.Cut(command, " > ")
	switch {
	case command == "":
		return ""
	case redirected:
		return "exec " + creds + "\ncp stdout " + into + "\n"
	case strings.HasPrefix(command, "export "):
		script := ""
		for _, one := range strings.Fields(command)[1:] {
			script += "env " + one + "\n"
		}
		return script
	case strings.HasPrefix(command, "nats-server "):
		return "users USERS site-7.conf ops.conf\nsubst hub.conf\nexec " + command + " &hub&\n"
	case strings.HasPrefix(command, "gatewayd run "):
		return "exec " + command + " &gateway&\n"
	case command == "gatewayd fleet setup": // the hub may take a moment to listen
		return "! until 'no hub answers' exec " + command + "\nstdout .\n"
	case command == "gatewayd fleet ls":
		return "until '^site-7 +\\S+ +● ok .* up \\d+s +0$' exec " + command + "\n"
	case strings.HasPrefix(command, "gatewayd fleet config push") && strings.Contains(command, "--canary"):
		return "exec " + command + " --hold 1s\nstdout '^site-7 +1 +applied '\nexec " + command + "\nstdout 'it already had this config'\n"
	case command == "gatewayd fleet track":
		return "until '^site-7 +0 +\\d+s ago' exec " + command + "\n"
	}
	return "exec " + command + "\nstdout .\n"
}

// usersCommand is "users NAME FILE...": $NAME becomes the users that fleet creds has printed into
// the files.
func usersCommand(ts *testscript.TestScript, _ bool, args []string) {
	all := ""
	for _, file := range args[1:] {
		m := regexp.MustCompile(`(?s)users = \[\n(.*)    \]`).FindStringSubmatch(ts.ReadFile(file))
		if m == nil {
			ts.Fatalf("%s has no users", file)
		}
		all += m[1]
	}
	ts.Setenv(args[0], all)
}

// certsCommand is "certs": it makes hub.pem with its key hub.key, and ca.pem, which verifies it.
func certsCommand(ts *testscript.TestScript, _ bool, _ []string) {
	own, key, err := certificate()
	ts.Check(err)
	for file, text := range map[string][]byte{"ca.pem": own, "hub.pem": own, "hub.key": key} {
		ts.Check(os.WriteFile(ts.MkAbs(file), text, 0o600))
	}
}

// certificate returns a self-signed certificate and its key.
func certificate() (own, private []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hub"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), err
}
