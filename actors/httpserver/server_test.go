package httpserver_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/actors/accesscontrol"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/httpserver"
	"gatewayd/bus"
	"gatewayd/protocols/access"
	"gatewayd/protocols/freeport"
	accessv1 "gatewayd/schemas/access/v1"
	actorv1 "gatewayd/schemas/actor/v1"
	erraticv1 "gatewayd/schemas/erratic/v1"
	webv1 "gatewayd/schemas/web/v1"
)

const path = "edge/http"

func TestMain(m *testing.M) { actorstest.Main(m) }

func TestConforms(t *testing.T) {
	actorstest.Conform(t, httpserver.Kind, &webv1.Server{Listen: freeport.Address(t)}, accesscontrol.Kind)
}

// counter answers Count with a stream, and Misbehave as the test says.
type counter chan actors.Caller

func (f counter) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case actors.Started:
		c.OK()
	case *erraticv1.MisbehaveRequest:
		if m.How == "hang" {
			c.Take()
			return nil
		}
		select {
		case f <- c.Caller():
		default:
		}
		c.Reply(&erraticv1.MisbehaveResponse{})
	case *erraticv1.CountRequest:
		for i := range m.To % 404 { // of 404 there is nothing to tell
			if err := c.Request().Send(&erraticv1.CountResponse{Number: i + 1}); err != nil {
				return err
			}
		}
		c.Reply(nil)
	}
	return nil
}

// start starts a server and an actor to call.
func start(t *testing.T, cfg *webv1.Server) (*actorstest.Rig, string, counter) {
	t.Helper()
	r := actorstest.New(t)
	if cfg.Listen == "" {
		cfg.Listen = freeport.Address(t)
	}
	callers := make(counter, 4)
	k := actors.Define(actors.Kind{Name: "counter", Doc: "counts",
		Services: []protoreflect.ServiceDescriptor{actors.Service(erraticv1.File_erratic_v1_erratic_proto, "ErraticService")},
	}, func(*structpb.Struct) actors.Actor { return callers })
	r.Start("field/plc", k, &structpb.Struct{})
	if cfg.Access != "" {
		r.Start(cfg.Access, accesscontrol.Kind, residents())
	}
	cell := r.Start(path, httpserver.Kind, cfg)
	r.Until("it answers", func() bool { return cell.State() == actors.OK && r.System.Lookup("field/plc").State() == actors.OK })
	return r, cfg.Listen, callers
}

func residents() *accessv1.Access {
	return &accessv1.Access{
		Roles: []*accessv1.Role{
			{Name: "viewer", Allow: []string{"data/#", "state/#"}},
			{Name: "fitter", Allow: []string{"state/field/#"}},
			{Name: "operator", Allow: []string{"cmd/field/#", "data/#"}, Deny: []string{"cmd/+/+/Restart"}},
		},
		Identities: []*accessv1.Identity{
			{Name: "vera", Roles: []string{"viewer"}, Password: access.Hash([]byte("vera's own"))},
			{Name: "otto", Roles: []string{"operator"}, Tokens: []string{access.Digest("gwt_otto")}},
			{Name: "pia", Roles: []string{"fitter"}, Tokens: []string{access.Digest("gwt_pia")}},
		},
	}
}

// curl runs curl and returns its output.
func curl(t *testing.T, args ...string) string {
	t.Helper()
	name, err := exec.LookPath("curl")
	if err != nil {
		t.Fatal("curl is missing: apt-get install -y curl")
	}
	out, err := exec.Command(name, append([]string{"-sS", "-m", "20"}, args...)...).CombinedOutput()
	if err != nil {
		t.Logf("curl %v: %v", args, err)
	}
	return string(out)
}

func TestCurlCalls(t *testing.T) {
	_, addr, callers := start(t, &webv1.Server{})
	url := "http://" + addr
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"-d", `{"how":"panic"}`, url + "/cmd/field/plc/Misbehave"}, `{}`},
		{[]string{"-H", "Content-Type: application/json", "-d", `{"how":"panic"}`, url + "/field/plc/erratic.v1.ErraticService/Misbehave"}, `{}`},
		{[]string{"-d", `{}`, url + "/cmd/field/plc/Describe"}, `{"entry":`},
		{[]string{"-d", `{"hou":"panic"}`, url + "/cmd/field/plc/Misbehave"}, `{"code":"invalid_argument","message":`},
		{[]string{"-d", `{}`, url + "/cmd/field/plk/Describe"}, `{"code":"not_found","message":`},
		{[]string{"-d", `{}`, url + "/cmd/field/plc/Misspell"}, `{"code":"not_found","message":`},
		{[]string{"-d", `{}`, url + "/field/plc/modbus.v1.UnitService/Describe"}, `{"code":"not_found","message":"method Describe of field/plc belongs to actor.v1.ActorService`},
		{[]string{"-H", "Connect-Timeout-Ms: 200", "-d", `{"how":"hang"}`, url + "/cmd/field/plc/Misbehave"}, `{"code":"deadline_exceeded"`},
		{[]string{"-d", `{"to":3}`, url + "/cmd/field/plc/Count"}, `{"code":"unimplemented","message":"this method has several answers`},
		{[]string{"-d", `{"to":404}`, url + "/cmd/field/plc/Count"}, `{"code":"unimplemented","message":"this method has several answers`},
		{[]string{"-H", "Accept: text/event-stream", "-d", `{"to":2}`, url + "/cmd/field/plc/Count"},
			"event: answer\ndata: {\"number\":1}\n\nevent: answer\ndata: {\"number\":2}\n\nevent: end\ndata: {}\n\n"},
		{[]string{url + "/"}, `{"code":"not_found"`},
		{[]string{"-d", `{}`, url + "/nonsense"}, `{"code":"not_found"`},
		{[]string{url + "/openapi.json"}, `{"components":{"schemas":{"Error":`},
		{[]string{url + "/healthz"}, `{"state":"ok","of":[]}`},
		{[]string{"--http2-prior-knowledge", "-d", `{"how":"panic"}`, url + "/cmd/field/plc/Misbehave"}, `{}`},
	} {
		if got := strings.ReplaceAll(curl(t, tt.args...), `": `, `":`); !strings.HasPrefix(got, tt.want) {
			t.Errorf("curl %v prints %q, want %q", tt.args, got, tt.want)
		}
	}
	if c := actorstest.Next(t, callers); !strings.HasPrefix(c.Identity, "http/127.0.0.1:") {
		t.Errorf("the caller is %+v", c)
	}
	if m := curl(t, url+"/metrics"); !strings.Contains(m, `gatewayd_actor_health{kind="counter",path="field/plc",state="ok"} 1`) ||
		!strings.Contains(m, "# TYPE gatewayd_actor_failures_total counter") {
		t.Errorf("metrics:\n%s", m)
	}
}

// Every query of the dashboard uses existing metrics and labels.
func TestDashboard(t *testing.T) {
	r, addr, _ := start(t, &webv1.Server{})
	curl(t, "-d", `{"how":"panic"}`, "http://"+addr+"/cmd/field/plc/Misbehave")
	r.System.Lookup("field/plc").Heal("cycle")
	metrics := curl(t, "http://"+addr+"/metrics")
	text, err := os.ReadFile("../../packaging/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	name, by := regexp.MustCompile(`gatewayd_\w+`), regexp.MustCompile(`by \(([^)]*)\)`)
	for _, p := range board.Panels {
		for _, q := range p.Targets {
			for _, m := range name.FindAllString(q.Expr, -1) {
				line := regexp.MustCompile(`(?m)^` + m + `\{.*\} `).FindString(metrics)
				if line == "" {
					t.Errorf("%s: there is no metric %s", p.Title, m)
				}
				for _, labels := range by.FindAllStringSubmatch(q.Expr, -1) {
					for _, l := range strings.Split(labels[1], ", ") {
						if !strings.Contains(line, l+`="`) {
							t.Errorf("%s: %s has no label %s", p.Title, m, l)
						}
					}
				}
			}
		}
	}
	if want := `gatewayd_actor_healed_total{kind="counter",level="cycle",path="field/plc"} 1`; !strings.Contains(metrics, want) {
		t.Errorf("there is no %s", want)
	}
	if len(board.Panels) < 8 {
		t.Errorf("%d panels", len(board.Panels))
	}
}

// Connect's own client works with all three protocols, unary and streaming.
func TestConnectClients(t *testing.T) {
	_, addr, _ := start(t, &webv1.Server{})
	var plain http.Protocols
	plain.SetUnencryptedHTTP2(true)
	h2 := &http.Client{Transport: &http.Transport{Protocols: &plain}}
	defer h2.CloseIdleConnections()
	h1 := &http.Client{Transport: &http.Transport{}}
	defer h1.CloseIdleConnections()
	for what, tt := range map[string]struct {
		http    *http.Client
		options []connect.ClientOption
	}{
		"connect":      {h1, nil},
		"connect json": {h1, []connect.ClientOption{connect.WithProtoJSON()}},
		"connect h2":   {h2, nil},
		"grpc":         {h2, []connect.ClientOption{connect.WithGRPC()}},
		"grpc-web":     {h1, []connect.ClientOption{connect.WithGRPCWeb()}},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		base := "http://" + addr + "/field/plc/"
		describe := connect.NewClient[actorv1.DescribeRequest, actorv1.DescribeResponse](tt.http, base+"actor.v1.ActorService/Describe", tt.options...)
		got, err := describe.CallUnary(ctx, connect.NewRequest(&actorv1.DescribeRequest{}))
		if err != nil || got.Msg.Entry.Kind != "counter" {
			t.Errorf("%s: %v, %v", what, got, err)
		}
		count := connect.NewClient[erraticv1.CountRequest, erraticv1.CountResponse](tt.http, base+"erratic.v1.ErraticService/Count", tt.options...)
		stream, err := count.CallServerStream(ctx, connect.NewRequest(&erraticv1.CountRequest{To: 100}))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		n := uint32(0)
		for stream.Receive() {
			if n++; stream.Msg().Number != n {
				t.Errorf("%s: answer %d is %v", what, n, stream.Msg())
			}
		}
		if n != 100 || stream.Err() != nil {
			t.Errorf("%s: %d answers, %v", what, n, stream.Err())
		}
		bad := connect.NewClient[actorv1.DescribeRequest, actorv1.DescribeResponse](tt.http, "http://"+addr+"/field/plk/actor.v1.ActorService/Describe", tt.options...)
		if _, err = bad.CallUnary(ctx, connect.NewRequest(&actorv1.DescribeRequest{})); connect.CodeOf(err) != connect.CodeNotFound {
			t.Errorf("%s: nobody answers %v", what, err)
		}
		misbehave := connect.NewClient[erraticv1.MisbehaveRequest, erraticv1.MisbehaveResponse](tt.http, base+"erratic.v1.ErraticService/Misbehave", tt.options...)
		_, err = misbehave.CallUnary(ctx, connect.NewRequest(&erraticv1.MisbehaveRequest{How: "badly"}))
		var refused *connect.Error
		if !errors.As(err, &refused) || refused.Code() != connect.CodeInvalidArgument || len(refused.Details()) != 1 {
			t.Fatalf("%s: %v", what, err)
		}
		if m, err := refused.Details()[0].Value(); err != nil || m.(*actorv1.Violation).Field != "how" {
			t.Errorf("%s: detail %v, %v", what, m, err)
		}
		cancel()
	}
}

// events reads Server-Sent Events.
type events struct {
	t    *testing.T
	body io.ReadCloser
	r    *bufio.Reader
}

func hear(t *testing.T, r *http.Request) *events {
	t.Helper()
	own := &http.Transport{}
	t.Cleanup(own.CloseIdleConnections)
	answer, err := own.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	e := &events{t, answer.Body, bufio.NewReader(answer.Body)}
	if answer.StatusCode != http.StatusOK {
		line, _ := e.r.ReadString('\n')
		t.Fatalf("%s: %s", answer.Status, line)
	}
	if line, err := e.r.ReadString('\n'); line != ":\n" {
		t.Fatalf("it begins with %q (%v)", line, err)
	}
	return e
}

// next returns the name and data of the next event.
func (e *events) next() (name, data string, err error) {
	for {
		line, err := e.r.ReadString('\n')
		if err != nil {
			return "", "", err
		}
		if s, ok := strings.CutPrefix(line, "event: "); ok {
			name = strings.TrimSpace(s)
		}
		if s, ok := strings.CutPrefix(line, "data: "); ok {
			return name, strings.TrimSpace(s), nil
		}
	}
}

func request(t *testing.T, url, token string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

func say(t *testing.T, r *actorstest.Rig, class bus.Class, where string) {
	t.Helper()
	if err := r.Bus.PublishRaw(bus.Subject(actorstest.Gateway, class, where, "points"), bus.JSON, []byte(`{"of":"`+where+`"}`)); err != nil {
		t.Fatal(err)
	}
}

func TestHears(t *testing.T) {
	r, addr, _ := start(t, &webv1.Server{})
	e := hear(t, request(t, "http://"+addr+"/data/field/%23", ""))
	say(t, r, bus.Data, "other/meter")
	say(t, r, bus.Data, "field/meter")
	if name, data, err := e.next(); name != "data/field/meter/points" || data != `{"of":"field/meter"}` {
		t.Errorf("hears %q %q (%v)", name, data, err)
	}
}

// A subscription to states begins with those that were published before it.
func TestHearsStoredStates(t *testing.T) {
	r, addr, _ := start(t, &webv1.Server{Access: "access"})
	say(t, r, bus.State, "field/meter")
	say(t, r, bus.State, "other/meter")
	url := "http://" + addr + "/state/field/+/points"
	if got := curl(t, "-m", "1", "-N", "-u", "vera:vera's own", url); !strings.HasPrefix(got, "event: state/field/meter/points\ndata: {\"of\":\"field/meter\"}\n\n:\n\n") {
		t.Errorf("vera hears %q", got)
	}
	// Of a filter, only what the client may receive.
	if got := curl(t, "-m", "1", "-N", "-H", "Authorization: Bearer gwt_otto", "http://"+addr+"/state/%23"); !strings.HasPrefix(got, `{"code":"permission_denied"`) {
		t.Errorf("otto hears %q", got)
	}
	if got := curl(t, "-m", "1", "-N", "-H", "Authorization: Bearer gwt_pia", "http://"+addr+"/state/%23"); strings.Contains(got, "other") || !strings.Contains(got, "field/meter") {
		t.Errorf("pia hears %q", got)
	}
}

func TestAccess(t *testing.T) {
	r, addr, callers := start(t, &webv1.Server{Access: "access"})
	url := "http://" + addr
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"-d", `{}`, url + "/cmd/field/plc/Describe"}, `{"code":"unauthenticated"`},
		{[]string{url + "/healthz"}, `{"code":"unauthenticated"`},
		{[]string{"-u", "vera:wrong one", "-d", `{}`, url + "/cmd/field/plc/Describe"}, `{"code":"unauthenticated"`},
		{[]string{"-H", "Authorization: Bearer gwt_atto", "-d", `{}`, url + "/cmd/field/plc/Describe"}, `{"code":"unauthenticated"`},
		{[]string{"-u", "vera:vera's own", "-d", `{}`, url + "/cmd/field/plc/Describe"}, `{"code":"permission_denied"`},
		{[]string{"-u", "vera:vera's own", url + "/healthz"}, `{"state":"ok"`},
		{[]string{"-u", "vera:vera's own", url + "/event/%23"}, `{"code":"permission_denied"`},
		{[]string{"-H", "Authorization: Bearer gwt_otto", url + "/healthz"}, `{"code":"permission_denied"`},
		{[]string{"-H", "Authorization: Bearer gwt_otto", "-d", `{}`, url + "/cmd/field/plc/Restart"}, `{"code":"permission_denied"`},
		{[]string{"-H", "Authorization: Bearer gwt_otto", "-H", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
			"-d", `{"how":"panic"}`, url + "/field/plc/erratic.v1.ErraticService/Misbehave"}, `{}`},
	} {
		if got := strings.ReplaceAll(curl(t, tt.args...), `": `, `":`); !strings.HasPrefix(got, tt.want) {
			t.Errorf("curl %v prints %q, want %q", tt.args, got, tt.want)
		}
	}
	if c := actorstest.Next(t, callers); c.Identity != "user/otto" || c.Trace != "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("the caller is %+v", c)
	}

	// A revoked client is cut off at once and not admitted again.
	cut := actorstest.Watch(r, "event/edge/http/cut", &webv1.Cut{})
	e := hear(t, request(t, url+"/data/%23", "gwt_otto"))
	if _, err := actorstest.Call(r, "access", "Revoke", &accessv1.RevokeRequest{Identity: "otto"}, &accessv1.RevokeResponse{}); err != nil {
		t.Fatal(err)
	}
	if c := actorstest.Next(t, cut); c.Identity != "otto" || c.Requests != 1 {
		t.Errorf("event %v", c)
	}
	if _, _, err := e.next(); err == nil {
		t.Error("otto still hears")
	}
	var refused struct{ Code string }
	got := curl(t, "-H", "Authorization: Bearer gwt_otto", "-d", `{}`, url+"/cmd/field/plc/Describe")
	if err := json.Unmarshal([]byte(got), &refused); err != nil || refused.Code != "unauthenticated" {
		t.Errorf("otto gets %q", got)
	}
}

// A client that reads too slowly is cut off; no other client notices.
func TestSlowListener(t *testing.T) {
	r, addr, _ := start(t, &webv1.Server{})
	slow := hear(t, request(t, "http://"+addr+"/data/%23", ""))
	quick := hear(t, request(t, "http://"+addr+"/data/%23", ""))
	big := []byte(`"` + strings.Repeat("x", 100_000) + `"`)
	for i := range 1000 {
		if err := r.Bus.PublishRaw(bus.Subject(actorstest.Gateway, bus.Data, "field/meter", "points"), bus.JSON, big); err != nil {
			t.Fatal(err)
		}
		if _, _, err := quick.next(); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	heard := 0
	for ; ; heard++ {
		if _, _, err := slow.next(); err != nil {
			break
		}
	}
	if heard == 1000 {
		t.Error("the slow one has heard all: nothing was tried")
	}
}

// A server that listens before the policy is known is healthy as soon as it is known.
func TestWellOncePolicyComes(t *testing.T) {
	r := actorstest.New(t)
	addr := freeport.Address(t)
	cell := r.Start(path, httpserver.Kind, &webv1.Server{Listen: addr, Access: "access"})
	r.Until("no client is admitted", func() bool { return cell.State() == actors.Degraded })
	r.Until("it listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	<-time.After(500 * time.Millisecond) // it has checked itself
	began := time.Now()
	r.Start("access", accesscontrol.Kind, residents())
	r.Until("it is well", func() bool { return cell.State() == actors.OK })
	if took := time.Since(began); took > 7*time.Second {
		t.Errorf("it was well %v after it was known who may come in", took)
	}
}

// A client whose identity expires is cut off.
func TestExpiryEndsRequests(t *testing.T) {
	for stay := 3 * time.Second; !cutOffAfter(t, stay); stay *= 2 {
		if stay > time.Minute {
			t.Fatal("he was never let in")
		}
	}
}

// cutOffAfter returns false if admitting the client took longer than the client may stay.
func cutOffAfter(t *testing.T, stay time.Duration) bool {
	policy := residents()
	end := time.Now().Add(stay).Truncate(time.Second)
	policy.Identities = append(policy.Identities, &accessv1.Identity{Name: "gast", Roles: []string{"viewer"}, Tokens: []string{access.Digest("gwt_gast")},
		Expires: end.UTC().Format(time.RFC3339)})
	r := actorstest.New(t)
	r.Start("access", accesscontrol.Kind, policy)
	addr := freeport.Address(t)
	cell := r.Start(path, httpserver.Kind, &webv1.Server{Listen: addr, Access: "access"})
	r.Until("it answers", func() bool { return cell.State() == actors.OK })
	own := &http.Transport{}
	defer own.CloseIdleConnections()
	answer, err := own.RoundTrip(request(t, "http://"+addr+"/data/%23", "gwt_gast"))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		if time.Now().Before(end) {
			t.Fatal(answer.Status)
		}
		return false
	}
	e := &events{t, answer.Body, bufio.NewReader(answer.Body)}
	if _, _, err := e.next(); err == nil {
		t.Error("there was something to hear")
	}
	if late := time.Since(end); late < 0 || late > 10*time.Second {
		t.Errorf("cut off %v after the end", late)
	}
	return true
}

// endless answers Count with numbers for ever, and counts them.
type endless struct{ given *atomic.Uint32 }

func (e endless) Receive(c *actors.Context, msg any) error {
	switch msg.(type) {
	case actors.Started:
		c.OK()
	case *erraticv1.CountRequest:
		c.Stream(e)
	}
	return nil
}

func (e endless) Next(context.Context) (proto.Message, error) {
	return &erraticv1.CountResponse{Number: e.given.Add(1)}, nil
}

func (e endless) Close() error { return nil }

// A revoked client is cut off even while the server waits for it to read.
func TestRevokedWhileItWaits(t *testing.T) {
	r, addr, _ := start(t, &webv1.Server{Access: "access", MaxRequests: 1, CallTimeout: durationpb.New(100 * time.Millisecond)})
	given := &atomic.Uint32{}
	k := actors.Define(actors.Kind{Name: "endless", Doc: "counts for ever",
		Services: []protoreflect.ServiceDescriptor{actors.Service(erraticv1.File_erratic_v1_erratic_proto, "ErraticService")},
	}, func(*structpb.Struct) actors.Actor { return endless{given} })
	r.Start("field/lab", k, &structpb.Struct{})
	busy := func() bool {
		return strings.Contains(curl(t, "-u", "vera:vera's own", "http://"+addr+"/healthz"), "resource_exhausted")
	}
	for name, head := range map[string]string{
		"events":  "POST /cmd/field/lab/Count HTTP/1.1\r\nAccept: text/event-stream\r\nContent-Length: 2\r\n\r\n{}",
		"connect": "POST /field/lab/erratic.v1.ErraticService/Count HTTP/1.1\r\nContent-Type: application/connect+json\r\nContent-Length: 7\r\n\r\n\x00\x00\x00\x00\x02{}",
	} {
		head = strings.Replace(head, "\r\n", "\r\nHost: gateway\r\nAuthorization: Bearer gwt_otto\r\n", 1)
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
		if _, err := io.WriteString(c, head); err != nil {
			t.Fatal(err)
		}
		// Until nothing moves any more.
		for last := uint32(0); given.Load() == 0 || given.Load() != last; time.Sleep(200 * time.Millisecond) {
			last = given.Load()
		}
		if !busy() {
			t.Errorf("%s are not under way", name)
		}
		begun := time.Now()
		if _, err := actorstest.Call(r, "access", "Revoke", &accessv1.RevokeRequest{Identity: "otto"}, &accessv1.RevokeResponse{}); err != nil {
			t.Fatal(err)
		}
		r.Until(name+" are over", func() bool { return !busy() })
		if took := time.Since(begun); took > 15*time.Second {
			t.Errorf("%s: it took %v", name, took)
		}
		if _, err := actorstest.Call(r, "access", "Restore", &accessv1.RestoreRequest{Identity: "otto"}, &accessv1.RestoreResponse{}); err != nil {
			t.Fatal(err)
		}
		r.Until("he is let in again", func() bool {
			return !strings.Contains(curl(t, "-H", "Authorization: Bearer gwt_otto", "http://"+addr+"/healthz"), "unauthenticated")
		})
		given.Store(0)
	}
}

// A server whose places for clients are all taken is not dead: connected clients stay.
func TestFullHouseIsNoFailure(t *testing.T) {
	r, addr, _ := start(t, &webv1.Server{Access: "access", MaxClients: 1})
	cell := r.System.Lookup(path)
	e := hear(t, request(t, "http://"+addr+"/data/%23", "gwt_otto"))
	change := func() { // the server checks itself whenever it gets a policy
		if _, err := actorstest.Call(r, "access", "Revoke", &accessv1.RevokeRequest{Identity: "vera"}, &accessv1.RevokeResponse{}); err != nil {
			t.Fatal(err)
		}
		if _, err := actorstest.Call(r, "access", "Restore", &accessv1.RestoreRequest{Identity: "vera"}, &accessv1.RestoreResponse{}); err != nil {
			t.Fatal(err)
		}
	}
	change()
	r.Until("it is full", func() bool { return cell.State() == actors.Degraded })
	if h := cell.Health(); !strings.Contains(h.Cause, "max-clients = 1") {
		t.Errorf("degraded: %s", h.Cause)
	}
	say(t, r, bus.Data, "field/meter")
	if name, _, err := e.next(); name != "data/field/meter/points" {
		t.Errorf("hears %q (%v)", name, err)
	}
	_ = e.body.Close()
	r.Until("there is room again", func() bool { change(); return cell.State() == actors.OK })
	if cell.Life() != 1 {
		t.Errorf("life %d", cell.Life())
	}
}
