package schemas_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/schemas"
)

func TestDoc(t *testing.T) {
	for name, want := range map[string]string{
		"modbus.v1.SerialLine":                       "SerialLine configures kind serial-line: one serial port and the wire behind it.",
		"modbus.v1.SerialLine.baud":                  "Speed.",
		"modbus.v1.UnitService.ReadBits":             "ReadBits reads coils or discrete inputs now.",
		"modbus.v1.LinkService":                      "LinkService is offered by kinds that carry Modbus transactions.",
		"actor.v1.ActorService":                      "ActorService is offered by every actor and every group.",
		"modbus.v1.SerialLine.bau":                   "",
		"":                                           "",
		"odbus.v1.SerialLine":                        "",
		"modbus.v1.SerialLine.baud\tSpeed.":          "",
		string(protoreflect.FullName("sample.v1.x")): "",
	} {
		if got := schemas.Doc(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

// Everything has its comment, as in the .proto file.
func TestDocsAreUpToDate(t *testing.T) {
	if fi, err := os.Stat("docs.txt"); err != nil || fi.Size() > 160<<10 {
		t.Errorf("docs.txt: %v, %d bytes", err, fi.Size())
	}
	protos := map[string]string{}
	files, err := filepath.Glob("*/v1/*.proto")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		protos[filepath.ToSlash(f)] = strings.Join(strings.Fields(regexp.MustCompile(`(?m)^\s*//`).ReplaceAllString(string(raw), " ")), " ")
	}
	check := func(d protoreflect.Descriptor) {
		doc := schemas.Doc(string(d.FullName()))
		if doc == "" || !strings.Contains(protos[d.ParentFile().Path()], doc) {
			t.Errorf("%s: %q is not its comment; run go generate ./schemas", d.FullName(), doc)
		}
	}
	ours(t, func(mt protoreflect.MessageType) {
		md := mt.Descriptor()
		check(md)
		for i := range md.Fields().Len() {
			check(md.Fields().Get(i))
		}
		for i := range md.ParentFile().Services().Len() {
			check(md.ParentFile().Services().Get(i))
		}
	})
}
