package uplinknats_test

import (
	"testing"

	"gatewayd/actors/actorstest"
)

func TestMain(m *testing.M) { actorstest.Main(m) }
