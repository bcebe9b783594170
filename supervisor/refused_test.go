package supervisor

import (
	"testing"

	"gatewayd/supervisor/config"
)

// A refused config has its warnings apart from its problems, in what is answered too.
func TestRefusedConfigTellsWarningsApart(t *testing.T) {
	o := refused(config.Problems{{Message: "odd", Warning: true}, {Message: "wrong"}})
	if len(o.problems) != 1 || o.problems[0].Message != "wrong" || len(o.warnings) != 1 || o.warnings[0].Message != "odd" {
		t.Errorf("got problems %v, warnings %v", o.problems, o.warnings)
	}
	if w := (&applying{}).warnings(o); len(w) != 1 || w[0].Message != "odd" {
		t.Errorf("got warnings %v", w)
	}
}
