package auditlog_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/auditlog"
	"gatewayd/bus"
	"gatewayd/protocols/audit"
	accessv1 "gatewayd/schemas/access/v1"
	auditv1 "gatewayd/schemas/audit/v1"
	erraticv1 "gatewayd/schemas/erratic/v1"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

const path = "audit"

func TestMain(m *testing.M) { actorstest.Main(m) }

func config() *auditv1.Log {
	return &auditv1.Log{Files: 2, FileSize: 65536, Skip: []string{"cmd/+/GetConfig"}}
}

func TestConforms(t *testing.T) { actorstest.Conform(t, auditlog.Kind, config()) }

// target answers what every actor answers, and publishes an event of its own.
type target struct{}

func (target) Receive(c *actors.Context, msg any) error {
	switch msg.(type) {
	case actors.Started:
		c.OK()
	case *erraticv1.MisbehaveRequest:
		c.Request().OwnEvent()
		c.Event("audited", &modbusv1.Audited{Caller: c.Caller().Identity, Outcome: "done"})
		c.Reply(&erraticv1.MisbehaveResponse{})
	}
	return nil
}

// Calls through the bus, refused or not, and relevant events are in the log, which verifies.
// Skipped calls and the gateway's own actions are not.
func TestLog(t *testing.T) {
	r := actorstest.New(t)
	r.System.Dir = t.TempDir()
	r.Start("lab", actors.Define(actors.Kind{
		Name: "target", Doc: "is called", Services: []protoreflect.ServiceDescriptor{actors.Service(erraticv1.File_erratic_v1_erratic_proto, "ErraticService")},
	}, func(*structpb.Struct) actors.Actor { return target{} }), &structpb.Struct{})
	cell := r.Start(path, auditlog.Kind, config())
	r.Until("the log is open", func() bool { return cell.State() == actors.OK })
	call := func(who, method, request string) {
		ctx, cancel := context.WithTimeout(bus.WithHeader(context.Background(), bus.Caller{Identity: who}.Header()), time.Minute)
		defer cancel()
		_, _, _ = r.Bus.CallRaw(ctx, bus.Subject(r.System.Gateway, bus.Cmd, "lab", method), bus.JSON, []byte(request))
	}
	call("user/anna", "Describe", "{}")
	call("user/anna", "GetConfig", "{}") // left out
	call("user/eve", "Misspell", "{}")
	call("local", "Describe", "{}")                  // by the gateway itself
	call("user/otto", "Misbehave", `{"how":"leak"}`) // one record, about its event
	subject := bus.Subject(r.System.Gateway, bus.Event, "access", "revoked")
	if err := r.Bus.Publish(subject, &accessv1.Revoked{Identity: "eve", Caller: "user/anna", Reason: "has left"}); err != nil {
		t.Fatal(err)
	}
	// irrelevant.
	if err := r.Bus.Publish(bus.Subject(r.System.Gateway, bus.Event, "lab", "started"), &accessv1.Revoked{}); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(r.System.Dir, path)
	text := ""
	r.Until("all is written", func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "audit-00.log"))
		text = strings.TrimRight(string(b), "\x00")
		return err == nil && strings.Contains(text, "has left")
	})
	for _, want := range []string{
		`"what":"cmd/lab/Describe","caller":"user/anna","trace":"`, `"what":"cmd/lab/Misspell","caller":"user/eve"`, `"code":"not_found"`,
		`"what":"event/access/revoked","caller":"user/anna"`, `"what":"event/lab/audited","caller":"user/otto"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
	if n := strings.Count(text, "\n"); n != 5 || strings.Contains(text, "cmd/lab/GetConfig") || strings.Contains(text, "cmd/lab/Misbehave") {
		t.Errorf("%d records, want the begin and 4:\n%s", n, text)
	}
	if rep, err := audit.Verify(dir, ""); err != nil || rep.Last != 5 {
		t.Errorf("%+v, %v", rep, err)
	}
	r.Stop(cell)
}
