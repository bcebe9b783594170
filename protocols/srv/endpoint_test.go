package srv_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"gatewayd/protocols/srv"
	"gatewayd/protocols/srv/srvtest"
)

// The URL of a service becomes that of the target that accepts a connection, which is used once.
func TestEndpoint(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	came := make(chan net.Conn, 8)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			came <- conn
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	r := srvtest.Run(t, "_mqtt._tcp.example.com", "1", port)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dial := (&net.Dialer{}).DialContext
	at, connect, err := r.Endpoint(ctx, "ssl+srv://_mqtt._tcp.example.com/x?y=z", dial)
	if err != nil || at != "ssl://"+srvtest.Host+":"+port+"/x?y=z" {
		t.Fatal(at, err)
	}
	first := <-came
	for range 2 { // the existing one, and a new one
		conn, err := connect(ctx, "tcp", srvtest.Host+":"+port)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	if _, err := first.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the connection that was there is not the one that was handed over: %v", err)
	}
	<-came
	if conn, err := connect(ctx, "tcp", "127.0.0.1:1"); err == nil {
		t.Errorf("another address leads to %s", conn.RemoteAddr())
		_ = conn.Close()
	}
	if at, _, err := r.Endpoint(ctx, "tcp://127.0.0.1:1", dial); err != nil || at != "tcp://127.0.0.1:1" {
		t.Error(at, err)
	}
	for bad, want := range map[string]string{
		"tcp+srv://_mqtt._tcp.example.com:1883": "and no port", "tcp+srv://": "needs the name of an SRV record", "tcp+srv://_nobody._tcp.example.com": "service _nobody._tcp.example.com",
	} {
		if at, _, err := r.Endpoint(ctx, bad, dial); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is %s, %v; want %s", bad, at, err, want)
		}
	}
	// A connection that is not used in time is closed.
	brief, over := context.WithCancel(ctx)
	if _, _, err := r.Endpoint(brief, "tcp+srv://_mqtt._tcp.example.com", dial); err != nil {
		t.Fatal(err)
	}
	last := <-came
	over()
	if _, err := last.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("it is still open: %v", err)
	}
	var none srv.Resolver
	none.File = t.TempDir() + "/none"
	if _, _, err := none.Endpoint(ctx, "tcp+srv://_mqtt._tcp.example.com", dial); err == nil {
		t.Error("a service without name servers")
	}
}
