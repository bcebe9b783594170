package config_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/schemas"
	"gatewayd/supervisor/config"
)

// An editor with the JSON Schema reports what the gateway reports, except what no schema can
// express: names, ranges of durations, ladders, implicit actors.
func TestEditorsAgree(t *testing.T) {
	byName := map[string]protoreflect.MessageDescriptor{}
	for _, k := range kinds() {
		byName[k.Name] = k.Config.Descriptor()
	}
	text, err := schemas.JSONSchema(byName)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	compared := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var doc map[string]any
		if toml.Unmarshal(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), &doc) != nil {
			continue
		}
		_, problems := config.Parse(file, text, kinds(), implicit()...)
		if base := filepath.Base(file); base == "no-link.toml" || base == "taken.toml" { // what no schema can express
			problems = nil
		}
		raw, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		compared++
		if err := schema.Validate(plain); (err == nil) != (len(problems) == 0) {
			t.Errorf("%s: the schema says %v, the gateway %v", file, err, problems)
		}
	}
	if compared < 8 {
		t.Errorf("only %d files compared", compared)
	}
}
