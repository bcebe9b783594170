package uplinkmqtt_test

import (
	"context"
	"testing"
	"time"

	"gatewayd/actors/actorstest"
)

func TestMain(m *testing.M) { actorstest.Main(m) }

const patience = 2 * time.Minute

func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}
