package httpserver_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"testing"

	webv1 "gatewayd/schemas/web/v1"
)

// An independent validator accepts the server's description as OpenAPI 3.1 and resolves all its
// references.
func TestOpenAPI(t *testing.T) {
	_, addr, _ := start(t, &webv1.Server{})
	text := []byte(curl(t, "http://"+addr+"/openapi.json"))
	cmd := exec.Command("node", "check.mjs")
	cmd.Dir, cmd.Stdin = "../../protocols/web/testdata/npm", bytes.NewReader(text)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.HasPrefix(out, []byte("valid 3.1")) {
		t.Fatalf("%v (the validator is missing? sh packaging/npm.sh): %.2000s", err, out)
	}
	var doc struct {
		Paths map[string]map[string]struct {
			Responses map[string]struct {
				Content map[string]struct {
					Schema struct {
						Ref string `json:"$ref"`
					}
				}
			}
		}
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if ref := doc.Paths["/cmd/field/plc/Count"]["post"].Responses["200"].Content["text/event-stream"].Schema.Ref; ref != "#/components/schemas/erratic.v1.CountResponse" {
		t.Errorf("a stream answers %q", ref)
	}
}
