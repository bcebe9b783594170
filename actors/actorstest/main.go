package actorstest

import (
	"testing"

	"go.uber.org/goleak"
)

// Main runs the tests of a package and fails if a goroutine is left behind. Those that rest between two messages
// are not: they end by themselves, only later than some machines look.
func Main(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("gatewayd/actors.(*crew).work"))
}
