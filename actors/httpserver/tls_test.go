package httpserver_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"testing"
	"time"

	"connectrpc.com/connect"

	"gatewayd/protocols/pki"
	actorv1 "gatewayd/schemas/actor/v1"
	tlsv1 "gatewayd/schemas/tls/v1"
	webv1 "gatewayd/schemas/web/v1"
)

// With TLS both sides negotiate HTTP/2, without which there is no gRPC; clients limited to HTTP/1.1
// are served as well.
func TestClientsOverTLS(t *testing.T) {
	a, err := pki.Create(t.TempDir(), "site", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Issue(pki.CertificateRequest{Name: "gateway", Hosts: []string{"127.0.0.1"}, Validity: time.Hour}, time.Now()); err != nil {
		t.Fatal(err)
	}
	_, addr, _ := start(t, &webv1.Server{Tls: &tlsv1.Server{CertFile: a.File("gateway.pem"), KeyFile: a.File("gateway.pem")}})
	text, err := os.ReadFile(a.File("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(text)
	for what, tt := range map[string]struct {
		major   int
		options []connect.ClientOption
	}{
		"connect": {1, nil}, "connect h2": {2, nil}, "grpc": {2, []connect.ClientOption{connect.WithGRPC()}},
	} {
		var protocols http.Protocols
		protocols.SetHTTP1(true)
		protocols.SetHTTP2(tt.major == 2)
		client := &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{Protocols: &protocols, TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}}}
		describe := connect.NewClient[actorv1.DescribeRequest, actorv1.DescribeResponse](client, "https://"+addr+"/field/plc/actor.v1.ActorService/Describe", tt.options...)
		got, err := describe.CallUnary(t.Context(), connect.NewRequest(&actorv1.DescribeRequest{}))
		if err != nil || got.Msg.Entry.Kind != "counter" {
			t.Errorf("%s: %v, %v", what, got, err)
		}
		page, err := client.Get("https://" + addr + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		_ = page.Body.Close()
		if page.ProtoMajor != tt.major {
			t.Errorf("%s: they have agreed on %s", what, page.Proto)
		}
		client.CloseIdleConnections()
	}
}
