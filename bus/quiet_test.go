package bus_test

import (
	"log/slog"
	"testing"
)

// quiet logs into the test's own output.
func quiet(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}
