package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gatewayd/actors"
	"gatewayd/actors/modbusunit"
	"gatewayd/actors/tcplink"
	"gatewayd/bus"
	"gatewayd/protocols/modbus/points"
	"gatewayd/protocols/modbus/profiles"
	modbusv1 "gatewayd/schemas/modbus/v1"
	"gatewayd/supervisor/config"
)

// coalescing is the figure "reads": the number of requests by which units of all built-in profiles
// read their points, compared with the smallest possible number. The former is what the unit tells
// its link; the latter is found by trying every way to split the points in the order of their
// addresses.
func coalescing(ctx context.Context, b *bench) error {
	tree, err := profiled()
	if err != nil {
		return err
	}
	w, err := newWorld(filepath.Join(b.dir, "world"), modbusunit.Kind, tcplink.Kind)
	if err != nil {
		return err
	}
	defer w.close()
	if err := w.tree.Start(tree); err != nil {
		return err
	}
	asked := &modbusv1.BudgetResponse{}
	subject := bus.Subject(gateway, bus.Cmd, "field/link", "Budget")
	if err := until("all units ask", 20*time.Second, func() bool {
		asked = &modbusv1.BudgetResponse{}
		return w.bus.Conn().Call(ctx, subject, &modbusv1.BudgetRequest{}, asked) == nil && len(asked.Units) == len(profiles.Names())
	}); err != nil {
		return err
	}
	ours, best, n, worst, note := 0, 0, 0, 0.0, ""
	for _, u := range asked.Units {
		cfg := tree.Find(u.Unit).Config.(*modbusv1.Unit)
		mine, least := 0, 0
		for _, g := range u.Groups {
			mine += int(g.Requests)
			least += fewest(cfg, g.Group)
		}
		ours, best, n = ours+mine, best+least, n+len(cfg.Points)
		if ratio := float64(mine) / float64(least); ratio > worst {
			worst, note = ratio, fmt.Sprintf("the worst is %s: %d, %d would do", cfg.Profile, mine, least)
		}
	}
	b.say(row{
		Figure: fmt.Sprintf("requests for %d points of %d profiles", n, len(asked.Units)), Value: fmt.Sprint(ours), Peer: fmt.Sprintf("the fewest %d", best),
		Ratio: float64(ours) / float64(best), Limit: "≤ 1.05, and each", Note: note,
	}.below(worst, 1.05))
	return nil
}

// profiled returns a config with a unit of each built-in profile.
func profiled() (*config.Tree, error) {
	var text strings.Builder
	fmt.Fprintf(&text, "gateway = %q\n[field.link]\nkind = \"tcp-link\"\naddress = \"127.0.0.1:1\"\n", gateway)
	for i, name := range profiles.Names() {
		fmt.Fprintf(&text, "[field.u%d]\nkind = \"modbus-unit\"\nlink = \"field/link\"\nunit = %d\nprofile = %q\n", i, i+1, name)
	}
	var kinds []config.Kind
	for _, k := range []*actors.Kind{&modbusunit.Kind, &tcplink.Kind} {
		kinds = append(kinds, config.Kind{Name: k.Name, Config: k.ConfigType(), Services: k.Offers(), Complete: k.Complete, Check: k.Check})
	}
	tree, problems := config.Parse("bench.toml", []byte(text.String()), kinds)
	return tree, problems.Err()
}

// stretch is the address range of a point.
type stretch struct {
	area       string
	first, end int
}

// fewest returns the smallest number of requests for a group.
func fewest(cfg *modbusv1.Unit, group string) int {
	var all []stretch
	for _, p := range cfg.Points {
		if in := cmp.Or(p.Group, "points"); in == group {
			q := points.Point{Area: cmp.Or(p.Area, points.Holding), Type: cmp.Or(p.Type, points.Uint16), Length: int(p.Length)}
			all = append(all, stretch{q.Area, int(p.Address), int(p.Address) + max(1, q.Registers())})
		}
	}
	slices.SortFunc(all, func(a, b stretch) int {
		return cmp.Or(cmp.Compare(a.area, b.area), cmp.Compare(a.first, b.first), cmp.Compare(a.end, b.end))
	})
	least := make([]int, len(all)+1)
	for end := 1; end <= len(all); end++ {
		least[end] = least[end-1] + 1
		for from := range end - 1 {
			if borne(cfg, all[from:end]) {
				least[end] = min(least[end], least[from]+1)
			}
		}
	}
	return least[len(all)]
}

// borne reports whether the unit accepts one request for all of these.
func borne(cfg *modbusv1.Unit, run []stretch) bool {
	first, end, most := run[0].first, run[0].end, int(cfg.MaxRegisters)
	if run[0].area == points.Coil || run[0].area == points.DiscreteInput {
		most = int(cfg.MaxBits)
	}
	for _, s := range run {
		if s.area != run[0].area || s.first-end > int(cfg.Gap) {
			return false
		}
		end = max(end, s.end)
	}
	for _, hole := range cfg.Holes {
		area, addresses, _ := strings.Cut(hole, " ")
		var from, to int
		if n, _ := fmt.Sscanf(addresses, "%d-%d", &from, &to); n == 1 {
			to = from
		}
		if area == run[0].area && from < end && to >= first {
			return false
		}
	}
	return end-first <= most && !cfg.OnePerPoint
}
