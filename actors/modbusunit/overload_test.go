package modbusunit_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
	"gatewayd/actors/modbusunit"
	"gatewayd/actors/tcplink"
	"gatewayd/bus"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/sim"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

// On a line that is too slow for all polls, the slowest group loses its interval, reports it, and
// gets it back.
func TestAnOverloadedLinkShedsTheSlowestGroup(t *testing.T) {
	virtually(t, func(t *testing.T) {
		r, b := actorstest.NewVirtual(t)
		d := meter(7)
		d.Behave(sim.Behaviour{Delay: 200 * time.Millisecond})
		r.Start(linkPath, tcplink.Over(wiredTo(t, modbus.TCP, d)), &modbusv1.TcpLink{Address: "192.0.2.1"})
		cfg := &modbusv1.Unit{Link: linkPath, Unit: 7, Timeout: ms(5000), MaxBackoff: ms(5000), Groups: []*modbusv1.ScanGroup{
			{Name: "slow", Every: ms(2000)}, {Name: "fast", Every: ms(500)},
		}}
		cfg.Points = append(cfg.Points, &modbusv1.Point{Name: "power", Address: 10, Group: "fast"})
		for i := range uint32(8) { // eight reads: 1.6 s in 2 s
			cfg.Points = append(cfg.Points, &modbusv1.Point{Name: fmt.Sprintf("p%d", i), Address: 20 * i, Group: "slow"})
		}
		cell := r.Start(unitPath, modbusunit.Kind, cfg)
		time.Sleep(2 * time.Minute)

		over := told[*modbusv1.Overloaded](b, bus.Event, linkPath, "overloaded")
		if len(over) != 1 || fmt.Sprint(over[0].Shed) != "["+unitPath+" slow]" || over[0].Needed < 110 {
			t.Fatalf("%v", over)
		}
		begin := over[0].Time.AsTime()
		after := func(group string) []*samplev1.Samples {
			return slices.DeleteFunc(told[*samplev1.Samples](b, bus.Data, unitPath, group), func(s *samplev1.Samples) bool { return s.Time.AsTime().Before(begin.Add(time.Second)) })
		}
		slow, fast := after("slow"), after("fast")
		if !slices.ContainsFunc(slow, cause("overloaded")) || !slices.ContainsFunc(slow, good) { // it has its share
			t.Errorf("the slow group: %v", slow)
		}
		if len(fast) < 100 || slices.ContainsFunc(fast, func(s *samplev1.Samples) bool { return !good(s) }) {
			t.Errorf("the fast group: %v", fast)
		}
		if all := told[*samplev1.Samples](b, bus.Data, unitPath, "slow"); !slices.IsSortedFunc(all, earlier) {
			t.Errorf("the slow group goes back in time: %v", all)
		}
		link := r.System.Lookup(linkPath)
		if cell.State() != actors.Degraded || !strings.Contains(cell.Health().Cause, "slow: the line is overloaded") || link.State() != actors.Degraded {
			t.Errorf("%v, %v", cell.Health(), link.Health())
		}
		answer, err := r.System.Call(t.Context(), linkPath, "Budget", &modbusv1.BudgetRequest{})
		if err != nil {
			t.Fatal(err)
		}
		budget := answer.(*modbusv1.BudgetResponse)
		u := budget.Units[0]
		if budget.Needed < 110 || budget.Overload == "" || u.Unit != unitPath || len(u.Groups) != 2 || !u.Groups[0].Shed || u.Groups[1].Shed || u.GetRoom() != 0 || u.Slack.AsDuration() > 0 {
			t.Errorf("%v", budget)
		}

		d.Behave(sim.Behaviour{})
		time.Sleep(2 * time.Minute)
		if end := told[*modbusv1.Relieved](b, bus.Event, linkPath, "relieved"); len(end) != 1 || end[0].Needed > 90 || end[0].Lasted.AsDuration() < time.Minute {
			t.Errorf("%v", end)
		}
		if cell.State() != actors.OK || link.State() != actors.OK {
			t.Errorf("%v, %v", cell.Health(), link.Health())
		}
	})
}

// earlier orders samples by time.
func earlier(a, b *samplev1.Samples) int { return a.Time.AsTime().Compare(b.Time.AsTime()) }

// told returns what an actor has published on a leaf.
func told[T proto.Message](b *actorstest.Recorder, class bus.Class, path, leaf string) (all []T) {
	for _, p := range b.All() {
		if m, ok := p.Message.(T); ok && p.Subject == bus.Subject(actorstest.Gateway, class, path, leaf) {
			all = append(all, m)
		}
	}
	return all
}

func TestTheBudgetOfALink(t *testing.T) {
	virtually(t, func(t *testing.T) {
		first, other := meter(7), meter(8)
		first.Behave(sim.Behaviour{Delay: time.Millisecond})
		other.Behave(sim.Behaviour{Delay: time.Millisecond})
		r := piped(t, first, other)
		noFault(t, r)
		second := config()
		second.Unit, second.Latency = 8, ms(100)
		r.Start(unitPath, modbusunit.Kind, config())
		cell := r.Start("field/plant/other", modbusunit.Kind, second)
		ask := func(m *modbusv1.BudgetRequest) (*modbusv1.BudgetResponse, error) {
			return actorstest.Call(r, linkPath, "Budget", m, &modbusv1.BudgetResponse{})
		}
		r.Until("both have shown what they take", func() bool {
			b, err := ask(&modbusv1.BudgetRequest{})
			return err == nil && len(b.Units) == 2 && b.Units[0].Latency.AsDuration() < 10*time.Millisecond && b.Units[1].Latency.AsDuration() < 90*time.Millisecond
		})
		b, err := ask(&modbusv1.BudgetRequest{Like: unitPath, Every: durationpb.New(time.Hour)})
		if err != nil || len(b.Units) != 1 || b.Units[0].GetRoom() < 1000 || b.Silent.GetUnit() == "" || b.Units[0].Groups[0].Requests != 4 {
			t.Errorf("%v %v", b, err)
		}
		if _, err := ask(&modbusv1.BudgetRequest{Like: "field/plant/nobody"}); err == nil || !strings.Contains(err.Error(), "field/plant/nobody") {
			t.Error(err)
		}
		r.Stop(cell)
		r.Until("who is gone asks for nothing", func() bool {
			b, err := ask(&modbusv1.BudgetRequest{})
			return err == nil && len(b.Units) == 1
		})
	})
}
