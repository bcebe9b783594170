package files

import (
	"strings"
	"testing"

	"gatewayd/supervisor/config"
)

// Warnings refuse nothing: the summary counts them apart.
func TestRefusedCountsWarningsApart(t *testing.T) {
	wrong, odd := config.Problem{File: "a.toml", Line: 1, Message: "wrong"}, config.Problem{File: "a.toml", Line: 2, Message: "odd", Warning: true}
	for want, problems := range map[string]config.Problems{
		"the config has 1 problem\n":                 {wrong},
		"the config has 1 problem and 1 warning\n":   {odd, wrong},
		"the config has 2 problems and 2 warnings\n": {wrong, odd, odd, wrong},
	} {
		if err := Refused(problems); err == nil || !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), problems.Format()) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
