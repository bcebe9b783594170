package look

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/cmd/gatewayd/client"
	actorv1 "gatewayd/schemas/actor/v1"
	gatewayv1 "gatewayd/schemas/gateway/v1"
)

func TestTreeIsDrawn(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	health := func(kind, state, cause string, ago time.Duration) *actorv1.Health {
		return &actorv1.Health{Kind: kind, State: state, Cause: cause, Life: 2, Since: timestamppb.New(now.Add(-ago))}
	}
	all := []client.Standing{
		{Path: "root", Health: health("group", "degraded", "field", 90*time.Second)},
		{Path: "bus", Health: health("bus", "ok", "", 25*time.Hour)},
		{Path: "field", Health: health("group", "degraded", "meter-2", time.Second)},
		{Path: "field/line", Health: health("serial-line", "ok", "", 2*time.Hour)},
		{Path: "field/meter-2", Health: health("modbus-unit", "degraded", "timeout", 0)},
		{Path: "mqtt", Health: health("mqtt-broker", "failed", "panic: no", 59*time.Minute)},
	}
	var out bytes.Buffer
	if err := printTree(&out, "plant", all, &gatewayv1.Boot{SafeMode: true, Who: "uplink", Why: "it died"}, now); err != nil {
		t.Fatal(err)
	}
	want := `NAME           KIND         HEALTH      SINCE   LIFE  CAUSE
plant          group        ◐ degraded  1m30s   2     field
├─ bus         bus          ● ok        1d01h   2
├─ field       group        ◐ degraded  1s      2     meter-2
│  ├─ line     serial-line  ● ok        2h00m   2
│  └─ meter-2  modbus-unit  ◐ degraded  0s      2     timeout
└─ mqtt        mqtt-broker  ✗ failed    59m00s  2     panic: no
safe mode: the gateway kept failing (uplink: it died), so its groups were not started; "gatewayd call GROUP Restart" starts one
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// After a kill there is nobody to name.
	out.Reset()
	if err := printTree(&out, "plant", all, &gatewayv1.Boot{SafeMode: true}, now); err != nil || !strings.Contains(out.String(), "kept failing, so") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
