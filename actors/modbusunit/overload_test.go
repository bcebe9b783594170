package modbusunit_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusunit"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

// A device that is slower than there is time for costs the slowest group its rhythm, says so, and gives it back.
func TestAnOverloadedLinkShedsTheSlowestGroup(t *testing.T) {
	d := meter(7)
	d.Behave(sim.Behaviour{Delay: 200 * time.Millisecond})
	r := plant(t, d)
	noFault(t, r)
	fast := actorstest.Watch(r, "data/field/plant/meter/fast", &samplev1.Samples{})
	slow := actorstest.Watch(r, "data/field/plant/meter/slow", &samplev1.Samples{})
	over := actorstest.Watch(r, "event/field/plant/link/overloaded", &modbusv1.Overloaded{})
	relieved := actorstest.Watch(r, "event/field/plant/link/relieved", &modbusv1.Relieved{})
	cfg := &modbusv1.Unit{Link: linkPath, Unit: 7, Timeout: ms(5000), MaxBackoff: ms(5000), Groups: []*modbusv1.ScanGroup{
		{Name: "slow", Every: ms(2000)}, {Name: "fast", Every: ms(500)},
	}}
	cfg.Points = append(cfg.Points, &modbusv1.Point{Name: "power", Address: 10, Group: "fast"})
	for i := range uint32(8) { // eight reads: 1.6 s in 2 s
		cfg.Points = append(cfg.Points, &modbusv1.Point{Name: fmt.Sprintf("p%d", i), Address: 20 * i, Group: "slow"})
	}
	cell := r.Start(unitPath, modbusunit.Kind, cfg)

	said := actorstest.Next(t, over)
	if fmt.Sprint(said.Shed) != "["+unitPath+" slow]" || said.Needed < 110 {
		t.Fatalf("%v", said)
	}
	stale := actorstest.NextWhere(t, slow, cause("overloaded"))
	if stale.Samples[0].Quality != "stale" {
		t.Errorf("%v", stale)
	}
	for range 6 {
		if s := actorstest.Next(t, fast); !good(s) {
			t.Errorf("the fast group: %v", s)
		}
	}
	actorstest.NextWhere(t, slow, good) // it has its share
	link := r.System.Lookup(linkPath)
	r.Until("both say so", func() bool {
		return cell.State() == actors.Degraded && strings.Contains(cell.Health().Cause, "slow: the line is overloaded") && link.State() == actors.Degraded
	})
	b, err := actorstest.Call(r, linkPath, "Budget", &modbusv1.BudgetRequest{}, &modbusv1.BudgetResponse{})
	if err != nil {
		t.Fatal(err)
	}
	u := b.Units[0]
	if b.Needed < 110 || b.Overload == "" || u.Unit != unitPath || len(u.Groups) != 2 || !u.Groups[0].Shed || u.Groups[1].Shed || u.GetRoom() != 0 || u.Slack.AsDuration() > 0 {
		t.Errorf("%v", b)
	}

	d.Behave(sim.Behaviour{})
	if end := actorstest.Next(t, relieved); end.Needed > 90 || end.Lasted.AsDuration() < time.Second {
		t.Errorf("%v", end)
	}
	r.Until("both are well", func() bool { return cell.State() == actors.OK && link.State() == actors.OK })
}

func TestTheBudgetOfALink(t *testing.T) {
	r := plant(t, meter(7), meter(8))
	noFault(t, r)
	second := config()
	second.Unit, second.Latency = 8, ms(100)
	r.Start(unitPath, modbusunit.Kind, config())
	other := r.Start("field/plant/other", modbusunit.Kind, second)
	ask := func(m *modbusv1.BudgetRequest) (*modbusv1.BudgetResponse, error) {
		return actorstest.Call(r, linkPath, "Budget", m, &modbusv1.BudgetResponse{})
	}
	r.Until("both have shown what they take", func() bool {
		b, err := ask(&modbusv1.BudgetRequest{})
		return err == nil && len(b.Units) == 2 && b.Needed > 0 && b.Units[1].Latency.AsDuration() < 90*time.Millisecond
	})
	b, err := ask(&modbusv1.BudgetRequest{Like: unitPath, Every: durationpb.New(time.Hour)})
	if err != nil || len(b.Units) != 1 || b.Units[0].GetRoom() < 1000 || b.Silent.GetUnit() == "" || b.Units[0].Groups[0].Requests != 4 {
		t.Errorf("%v %v", b, err)
	}
	if _, err := ask(&modbusv1.BudgetRequest{Like: "field/plant/nobody"}); err == nil || !strings.Contains(err.Error(), "field/plant/nobody") {
		t.Error(err)
	}
	r.Stop(other)
	r.Until("who is gone asks for nothing", func() bool {
		b, err := ask(&modbusv1.BudgetRequest{})
		return err == nil && len(b.Units) == 1
	})
}
