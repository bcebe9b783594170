package actorstest

import (
	"testing"

	"go.uber.org/goleak"
)

// Main runs the tests of a package and fails if a goroutine is left behind, except for those that
// no test can wait for.
func Main(m *testing.M) {
	goleak.VerifyTestMain(m,
		// Idles between two messages; it ends by itself, but later than the check on some machines.
		goleak.IgnoreTopFunction("gatewayd/actors.(*dispatcher).work"),
		// The server loses track of the store of a stream that is still being created during its
		// shutdown.
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"),
		// The library's fetch from a server that has gone ends within a second.
		goleak.IgnoreTopFunction("github.com/nats-io/nats.go/jetstream.(*pullConsumer).fetch.func1"),
	)
}
