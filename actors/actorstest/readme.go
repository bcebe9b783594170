package actorstest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gatewayd/actors"
	"gatewayd/schemas"
	"gatewayd/supervisor/config"
)

// sections of a README, after the name.
var sections = [...]string{"What it does", "Config", "Services", "Subjects", "Health", "Example"}

var tomlBlock = regexp.MustCompile("(?s)```toml\n(.*?)```")

// readme checks that the kind's README has all sections, that its config table is that of the
// schema, that it mentions all methods and leaves, and that its example is a valid config.
func readme(t *testing.T, k *actors.Kind, others []actors.Kind) {
	file := filepath.Join(moduleRoot(t), "actors", strings.ReplaceAll(k.Name, "-", ""), "README.md")
	p, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(p)
	if !strings.HasPrefix(text, "# "+k.Name+"\n") {
		t.Errorf("the first line is not %q", "# "+k.Name)
	}
	at := 0
	for _, s := range sections {
		i := strings.Index(strings.ToLower(text[at:]), "\n## "+strings.ToLower(s)+"\n")
		if i < 0 {
			t.Errorf("no section %q, or not in its place", "## "+s)
			continue
		}
		at += i + 1
	}
	if table := schemas.Table(k.ConfigType().Descriptor()); !strings.Contains(text, table) {
		t.Errorf("the table of the config is not that of the schema, which is:\n%s", table)
	}
	for _, s := range k.Services {
		for i := range s.Methods().Len() {
			if name := string(s.Methods().Get(i).Name()); !strings.Contains(text, name) {
				t.Errorf("method %s is not mentioned", name)
			}
		}
	}
	for _, l := range k.Publishes {
		if l.Leaf != "*" && !strings.Contains(text, l.Leaf) {
			t.Errorf("leaf %s of class %s is not mentioned", l.Leaf, l.Class)
		}
	}
	example(t, k, others, text)
}

// example loads the examples as a config file.
func example(t *testing.T, k *actors.Kind, others []actors.Kind, text string) {
	kinds := []config.Kind{readable(k)}
	for i := range others {
		if others[i].Name != k.Name {
			kinds = append(kinds, readable(&others[i]))
		}
	}
	found := false
	for _, block := range tomlBlock.FindAllStringSubmatch(text, -1) {
		toml := block[1]
		if !regexp.MustCompile(`(?m)^gateway\s*=`).MatchString(toml) {
			toml = "gateway = \"demo\"\n" + toml
		}
		tree, problems := config.Parse("README.md", []byte(toml), kinds)
		if err := problems.Err(); err != nil {
			t.Errorf("example: %v\n%s", err, toml)
			continue
		}
		found = found || holds(tree.Root, k.Name)
	}
	if !found {
		t.Errorf("no example has a %s", k.Name)
	}
}

func readable(k *actors.Kind) config.Kind {
	return config.Kind{Name: k.Name, Config: k.ConfigType(), Services: k.Offers(), Complete: k.Complete, Check: k.Check, Beside: k.Beside}
}

func holds(n *config.Node, kind string) bool {
	if n.Kind == kind {
		return true
	}
	for _, c := range n.Children {
		if holds(c, kind) {
			return true
		}
	}
	return false
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}
