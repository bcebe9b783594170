package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	callRounds = 15
	callSpan   = 250 * time.Millisecond
	callRatio  = 0.8
	echoFlag   = "--echo"
)

// callDoors is the figure "calls": unary calls of an actor through HTTP/2 and NATS, beside
// connect-go's own server that returns its request.
func callDoors(ctx context.Context, b *bench) error {
	bin := filepath.Join(b.dir, "gatewayd")
	if err := build(ctx, bin, "gatewayd/cmd/gatewayd"); err != nil {
		return err
	}
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	file := filepath.Join(b.dir, "calls.toml")
	config := fmt.Sprintf("gateway = \"bench\"\n[bus]\nkind = \"bus\"\nlisten = \"127.0.0.1:%d\"\nanonymous = \"operator\"\n"+
		"[http]\nkind = \"http-server\"\nlisten = \"127.0.0.1:%d\"\n[lab]\nkind = \"erratic\"\n", ports[0], ports[1])
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return err
	}
	daemon, err := startUntil(ports[:2], filepath.Join(b.dir, "log"), []string{bin, "run", "--config", file, "--data", filepath.Join(b.dir, "data"), "--log", "warn"})
	if err != nil {
		return err
	}
	defer daemon.end()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	peer, err := startUntil(ports[2:], filepath.Join(b.dir, "echo.log"), []string{self, echoFlag, strconv.Itoa(ports[2])})
	if err != nil {
		return err
	}
	defer peer.end()
	nc, err := nats.Connect(fmt.Sprintf("nats://127.0.0.1:%d", ports[0]))
	if err != nil {
		return err
	}
	defer nc.Close()
	web := posting(fmt.Sprintf("http://127.0.0.1:%d/lab/actor.v1.ActorService/GetConfig", ports[1]))
	echo := posting(fmt.Sprintf("http://127.0.0.1:%d/echo", ports[2]))
	bus := func() error {
		_, err := nc.Request("gw.bench.cmd.lab.GetConfig", []byte("{}"), 5*time.Second)
		return err
	}
	for _, call := range []func() error{web, echo, bus} { // until all three answer
		for ready := time.Now().Add(10 * time.Second); call() != nil; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(ready) {
				return call()
			}
		}
	}
	settle()
	for _, callers := range []int{1, 32} {
		var rates [3][]float64
		var slow [2][]time.Duration
		for round := range 1 + callRounds {
			for i, call := range []func() error{web, bus, echo} {
				rate, took, err := callingFor(callers, call)
				if err != nil {
					return err
				}
				if round == 0 { // warm-up
					continue
				}
				rates[i] = append(rates[i], rate)
				if i < 2 {
					slow[i] = append(slow[i], took...)
				}
			}
		}
		for i, door := range []string{"HTTP/2", "NATS"} {
			ours, theirs := median(rates[i]), median(rates[2])
			b.say(row{
				Figure: fmt.Sprintf("calls through %s, %d at once", door, callers), Value: fmt.Sprintf("%.0f/s, p99 %.2f ms", ours, ms(quantile(slow[i], 0.99))),
				Limit: fmt.Sprintf("≥ %.1f of it", callRatio), Peer: fmt.Sprintf("connect-go's echo %.0f/s", theirs), Ratio: ours / theirs,
			}.above(ours/theirs, callRatio))
		}
	}
	return nil
}

// posting returns a function that posts to a URL over HTTP/2.
func posting(url string) func() error {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: &p}, Timeout: 5 * time.Second}
	return func() error {
		r, err := client.Post(url, "application/json", bytes.NewReader([]byte("{}")))
		if err != nil {
			return err
		}
		defer r.Body.Close()
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return err
		}
		if r.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", url, r.Status)
		}
		return nil
	}
}

// callingFor calls from n goroutines for a while. It returns calls per second and the durations of
// the calls.
func callingFor(n int, call func() error) (rate float64, took []time.Duration, err error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed atomic.Pointer[error]
	begin := time.Now()
	for range n {
		wg.Go(func() {
			var mine []time.Duration
			for time.Since(begin) < callSpan {
				at := time.Now()
				if err := call(); err != nil {
					failed.Store(&err)
					return
				}
				mine = append(mine, time.Since(at))
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
		})
	}
	wg.Wait()
	if e := failed.Load(); e != nil {
		return 0, nil, *e
	}
	return float64(len(took)) / time.Since(begin).Seconds(), took, nil
}

// echoServer is connect-go's server with a handler that returns its request.
func echoServer(port string) error {
	h := connect.NewUnaryHandler("/echo", func(_ context.Context, r *connect.Request[structpb.Struct]) (*connect.Response[structpb.Struct], error) {
		return connect.NewResponse(r.Msg), nil
	})
	mux := http.NewServeMux()
	mux.Handle("/echo", h)
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return (&http.Server{Addr: "127.0.0.1:" + port, Handler: mux, Protocols: &p, ReadHeaderTimeout: 5 * time.Second}).ListenAndServe()
}
