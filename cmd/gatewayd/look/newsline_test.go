package look

import (
	"testing"

	"gatewayd/bus"
	actorv1 "gatewayd/schemas/actor/v1"
)

func TestHealedIsTold(t *testing.T) {
	text, err := bus.Marshal(bus.JSON, &actorv1.Healed{Child: "a/b", Level: "cycle", Attempt: 1, Left: 2, Cause: "hangs"})
	if err != nil {
		t.Fatal(err)
	}
	m := bus.Msg{Subject: "gw.demo.event.a.healed", ContentType: bus.JSON, Data: text}
	a, err := bus.ParseSubject(m.Subject)
	if err != nil {
		t.Fatal(err)
	}
	l, worth := EventLine(a, m)
	if want := "healing: cycle (attempt 1, 2 left): hangs"; !worth || l.Who != "a/b" || l.What != want {
		t.Errorf("got %v %q %q, want %q", worth, l.Who, l.What, want)
	}
}
