package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"

	"gatewayd/bus"
	"gatewayd/protocols/access"
	accessv1 "gatewayd/schemas/access/v1"
)

const (
	revokeRounds = 5
	revokeLimit  = time.Second
)

// revoke is the figure "revoke": the time from the call that revokes an identity until its open
// session is cut, at each door.
func revoke(ctx context.Context, b *bench) error {
	bin := filepath.Join(b.dir, "gatewayd")
	if err := build(ctx, bin, "gatewayd/cmd/gatewayd"); err != nil {
		return err
	}
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	const password = "secret of vera"
	hash := access.Hash([]byte(password))
	file, data := filepath.Join(b.dir, "revoke.toml"), filepath.Join(b.dir, "data")
	if err := os.WriteFile(file, fmt.Appendf(nil, revokeConfig, ports[0], hash, ports[1], ports[2]), 0o644); err != nil {
		return err
	}
	daemon, err := startUntil(ports, filepath.Join(b.dir, "log"), []string{bin, "run", "--config", file, "--data", data, "--log", "warn"})
	if err != nil {
		return err
	}
	defer daemon.end()
	url := fmt.Sprintf("nats://127.0.0.1:%d", ports[0])
	operator, err := bus.Dial(bus.Options{URL: url, NKeyFile: filepath.Join(data, "keys", "operator.nk")})
	if err != nil {
		return err
	}
	defer operator.Close()
	tell := func(method string) error {
		req := &accessv1.RevokeRequest{Identity: "vera"}
		if method == "Restore" {
			return operator.Call(ctx, bus.Subject(gateway, bus.Cmd, "access", method), &accessv1.RestoreRequest{Identity: "vera"}, nil)
		}
		return operator.Call(ctx, bus.Subject(gateway, bus.Cmd, "access", method), req, nil)
	}
	doors := []struct {
		name string
		open func() (cut <-chan error, end func(), err error)
	}{
		{"MQTT", func() (<-chan error, func(), error) { return heldMQTT(ports[1], "vera", password) }},
		{"HTTP", func() (<-chan error, func(), error) { return heldHTTP(ctx, ports[2], "vera", password) }},
		{"NATS", func() (<-chan error, func(), error) { return heldNATS(url, "vera", password) }},
	}
	took := make([][]time.Duration, len(doors))
	for range revokeRounds {
		var cuts []<-chan error
		for _, d := range doors {
			var cut <-chan error
			var end func()
			opened := until(d.name+" lets vera in", 10*time.Second, func() bool {
				cut, end, err = d.open()
				return err == nil
			})
			if opened != nil {
				return errors.Join(opened, err)
			}
			defer end()
			cuts = append(cuts, cut)
		}
		begin := time.Now()
		if err := tell("Revoke"); err != nil {
			return err
		}
		for i, cut := range cuts {
			select {
			case <-cut:
				took[i] = append(took[i], time.Since(begin))
			case <-time.After(10 * time.Second):
				return fmt.Errorf("who was revoked is still connected by %s after 10 s", doors[i].name)
			}
		}
		if err := tell("Restore"); err != nil {
			return err
		}
	}
	for i, d := range doors {
		worst := quantile(took[i], 1)
		b.say(row{Figure: "revoked client cut, " + d.name, Value: fmt.Sprintf("%.1f ms at most", ms(worst)), Limit: "≤ 1 s"}.below(worst.Seconds(), revokeLimit.Seconds()))
	}
	return nil
}

// heldMQTT opens a session that receives messages; cut receives when it has ended.
func heldMQTT(port int, name, password string) (cut <-chan error, end func(), err error) {
	p, err := dialMQTT(port, mqttLogin{id: name, name: name, password: password})
	if err != nil {
		return nil, nil, err
	}
	if err := p.subscribe("data/#", 0); err != nil {
		return nil, nil, err
	}
	over := make(chan error, 1)
	go func() {
		for {
			if _, _, err := p.packet(); err != nil {
				over <- err
				return
			}
		}
	}()
	return over, func() { _ = p.Close() }, nil
}

func heldHTTP(ctx context.Context, port int, name, password string) (cut <-chan error, end func(), err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/data/%%23", port), http.NoBody)
	if err != nil {
		return nil, nil, err
	}
	r.SetBasicAuth(name, password)
	answer, err := (&http.Transport{}).RoundTrip(r) //nolint:bodyclose // end does
	if err != nil {
		return nil, nil, err
	}
	if answer.StatusCode != http.StatusOK {
		_ = answer.Body.Close()
		return nil, nil, errors.New(answer.Status)
	}
	over := make(chan error, 1)
	go func() {
		for buf := make([]byte, 1024); ; {
			if _, err := answer.Body.Read(buf); err != nil {
				over <- err
				return
			}
		}
	}()
	return over, func() { _ = answer.Body.Close() }, nil
}

func heldNATS(url, name, password string) (cut <-chan error, end func(), err error) {
	over := make(chan error, 1)
	nc, err := nats.Connect(url, nats.UserInfo(name, password), nats.NoReconnect(), nats.ClosedHandler(func(nc *nats.Conn) { over <- nc.LastError() }))
	if err != nil {
		return nil, nil, err
	}
	if _, err := nc.Subscribe("gw."+gateway+".data.>", func(*nats.Msg) {}); err != nil {
		return nil, nil, err
	}
	return over, nc.Close, nc.Flush()
}

const revokeConfig = `gateway = "bench"
[bus]
kind = "bus"
listen = "127.0.0.1:%d"
access = "access"
[access]
kind = "access-control"
[[access.roles]]
name = "viewer"
allow = ["data/#"]
[[access.identities]]
name = "vera"
roles = ["viewer"]
password = %q
[mqtt]
kind = "mqtt-broker"
listen = "127.0.0.1:%d"
access = "access"
[http]
kind = "http-server"
listen = "127.0.0.1:%d"
access = "access"
`
