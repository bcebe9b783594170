package config_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	erraticv1 "gatewayd/schemas/erratic/v1"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	"gatewayd/supervisor/config"
)

func TestDiff(t *testing.T) {
	const base = "gateway = \"demo\"\n[a.x]\nkind = \"erratic\"\n[a.y]\nkind = \"erratic\"\n[b]\nkind = \"erratic\"\n"
	for _, c := range []struct {
		name, text string
		want       string
	}{
		{"nothing", base, ""},
		{"comments and order", "gateway = \"demo\"\n# b first\n[b]\nkind = \"erratic\"\n\n[a.y]\nkind = \"erratic\"\n[a.x]\nkind = \"erratic\"\n", ""},
		{"a default written out", strings.Replace(base, "[b]\n", "[b]\nevery = \"1000ms\"\n", 1), ""},
		{"a setting", strings.Replace(base, "[b]\n", "[b]\nevery = \"2s\"\n", 1), "reconfigure b"},
		{"another kind", strings.Replace(base, "[b]\nkind = \"erratic\"", "[b]\nkind = \"mqtt-broker\"", 1), "restart b"},
		{"actor becomes group", strings.Replace(base, "[b]\nkind = \"erratic\"", "[b.c]\nkind = \"erratic\"", 1), "restart b"},
		{"group settings", base + "[a]\ncritical = true\n", "reconfigure a"},
		{"new group", base + "[c.d.e]\nkind = \"erratic\"\n", "start c"},
		{"gone group", "gateway = \"demo\"\n[b]\nkind = \"erratic\"\n", "stop a"},
		{"moved", strings.Replace(base, "[a.y]", "[c.y]", 1), "stop a/y, start c"},
		{"all gone", "gateway = \"demo\"\n", "stop b, stop a"},
		{"gateway name", strings.Replace(base, "demo", "other", 1), "restart "},
		{"root setting", "watchdog.timeout = \"10s\"\n" + base, "reconfigure "},
		{"implicit", base + "[drill]\nkind = \"drill\"\narmed = true\n", "reconfigure drill"},
		{"all at once", "gateway = \"demo\"\n[a.x]\nkind = \"erratic\"\nhow = \"slow\"\n[a.z]\nkind = \"erratic\"\n[b]\nkind = \"mqtt-broker\"\n",
			"stop a/y, reconfigure a/x, restart b, start a/z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, change := range config.Diff(parse(t, base), parse(t, c.text)) {
				got = append(got, string(change.Action)+" "+change.Path)
			}
			if s := strings.Join(got, ", "); s != c.want {
				t.Errorf("got %q, want %q", s, c.want)
			}
		})
	}
}

func parse(t *testing.T, text string) *config.Tree {
	t.Helper()
	tree, problems := config.Parse("plant.toml", []byte(text), kinds(), implicit()...)
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return tree
}

// drawTree draws a small tree, so that two of them have much in common.
func drawTree(t *rapid.T, label string) *config.Tree {
	root := &config.Node{Config: &gatewayv1.Gateway{
		Gateway: rapid.SampledFrom([]string{"demo", "demo", "demo", "other"}).Draw(t, label),
		Ladder:  rapid.SampledFrom([][]string{{"escalate"}, {"restart 1 in 1m"}}).Draw(t, label),
	}}
	drawChildren(t, root, label, 3)
	return &config.Tree{Root: root}
}

func drawChildren(t *rapid.T, n *config.Node, label string, depth int) {
	names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 0, 4, rapid.ID).Draw(t, label)
	for _, name := range names {
		path := strings.TrimPrefix(n.Path+"/"+name, "/")
		c := &config.Node{Path: path}
		switch kind := rapid.SampledFrom([]string{"", "", "erratic", "slow"}).Draw(t, label); {
		case kind != "" || depth == 0:
			c.Kind = "erratic" + kind
			c.Config = &erraticv1.Erratic{How: rapid.SampledFrom([]string{"", "hang"}).Draw(t, label)}
		default:
			c.Config = &gatewayv1.Group{Critical: rapid.IntRange(0, 9).Draw(t, label) == 0, Stop: durationpb.New(1)}
			drawChildren(t, c, label, depth-1)
		}
		n.Children = append(n.Children, c)
	}
}

// apply applies changes to a running tree: the config of each path, as text.
func apply(t *rapid.T, running map[string]string, changes []config.Change) {
	stop := func(path string) {
		if _, ok := running[path]; !ok {
			t.Fatalf("%q is stopped but does not run", path)
		}
		for p := range running {
			if path == "" || p == path || strings.HasPrefix(p, path+"/") {
				delete(running, p)
			}
		}
	}
	start := func(n *config.Node) {
		if _, ok := running[n.Path]; ok {
			t.Fatalf("%q is started but runs already", n.Path)
		}
		(&config.Tree{Root: n}).Walk(func(n *config.Node) { running[n.Path] = text(n) })
	}
	for _, c := range changes {
		switch c.Action {
		case config.Stop:
			stop(c.Path)
		case config.Reconfigure:
			if c.Old.Kind != c.New.Kind {
				t.Fatalf("%q is reconfigured to another kind", c.Path)
			}
			running[c.Path] = text(c.New)
		case config.Restart:
			stop(c.Path)
			start(c.New)
		case config.Start:
			start(c.New)
		}
	}
}

func text(n *config.Node) string {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(n.Config)
	return fmt.Sprintf("%s %T %x %v", n.Kind, n.Config, b, err)
}

func all(t *config.Tree) map[string]string {
	m := map[string]string{}
	t.Walk(func(n *config.Node) { m[n.Path] = text(n) })
	return m
}

func TestDiffLeadsFromOldToNew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawTree(t, "a"), drawTree(t, "b")
		if c := config.Diff(a, a); len(c) != 0 {
			t.Fatalf("a tree differs from itself: %v", c)
		}
		changes := config.Diff(a, b)
		order := []config.Action{config.Stop, config.Reconfigure, config.Restart, config.Start}
		if !slices.IsSortedFunc(changes, func(x, y config.Change) int {
			return slices.Index(order, x.Action) - slices.Index(order, y.Action)
		}) {
			t.Fatalf("out of order: %v", changes)
		}
		running, want := all(a), all(b)
		apply(t, running, changes)
		if len(running) != len(want) {
			t.Fatalf("got %v, want %v", running, want)
		}
		for p, c := range want {
			if running[p] != c {
				t.Fatalf("%q: got %q, want %q", p, running[p], c)
			}
		}
	})
}
