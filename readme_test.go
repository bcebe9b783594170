package gatewayd_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestReadmeAddsAKind follows the README's section on adding an actor type word
// by word, in a copy of this repository, and runs the gateway that comes out.
func TestReadmeAddsAKind(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "## Add an actor type")
	if !found {
		t.Fatal("the README does not say how to add an actor type")
	}
	dir := clone(t)
	for _, file := range []string{"schemas/disk/v1/disk.proto", "actors/disk/disk.go"} {
		write(t, filepath.Join(dir, file), block(t, section, file))
	}
	addKind(t, filepath.Join(dir, "cmd/gatewayd/kinds.go"), strings.Fields(block(t, section, "cmd/gatewayd/kinds.go")))
	run(t, filepath.Join(dir, "schemas"), "go", "tool", "-modfile=../tools/go.mod", "buf", "lint")
	run(t, filepath.Join(dir, "schemas"), "go", "tool", "-modfile=../tools/go.mod", "buf", "generate")
	run(t, dir, "go", "build", "-o", "gatewayd", "./cmd/gatewayd")
	run(t, dir, "go", "test", "-run", "^TestFloors$", "./cmd/gatewayd")

	write(t, filepath.Join(dir, "gateway.toml"), `gateway = "readme"
[bus]
kind = "bus"
listen = "127.0.0.1:0"
anonymous = "observer"
[disk]
kind = "disk"
path = "/"
every = "200ms"
`)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	data := filepath.Join(dir, "data")
	daemon := exec.CommandContext(ctx, "./gatewayd", "run", "--config", "gateway.toml", "--data", data)
	daemon.Dir = dir
	daemon.Stderr = os.Stderr
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = daemon.Process.Signal(os.Interrupt)
		_ = daemon.Wait()
	}()
	watch := exec.CommandContext(ctx, "sh", "-c", `until ./gatewayd --data "$0" tree >/dev/null 2>&1; do sleep 0.1; done; exec ./gatewayd --data "$0" watch 'data/disk/free'`, data)
	watch.Dir = dir
	out, err := watch.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = watch.Wait()
	}()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), `"bytes":`) {
			return
		}
	}
	t.Fatal("the new kind published nothing")
}

// clone copies what git tracks into a new directory.
func clone(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	run(t, ".", "sh", "-c", `git ls-files -z | xargs -0 cp --parents -t "$0"`, dir)
	return dir
}

// block is the code block that follows the mention of a file in the section.
func block(t *testing.T, section, file string) string {
	t.Helper()
	_, rest, found := strings.Cut(section, "`"+file+"`")
	if !found {
		t.Fatalf("the README does not mention %s", file)
	}
	m := regexp.MustCompile("(?s)```[a-z]*\n(.*?)```").FindStringSubmatch(rest)
	if m == nil {
		t.Fatalf("no code block follows %s", file)
	}
	return m[1]
}

// addKind puts the line into the list, and the import that any editor adds.
func addKind(t *testing.T, file string, lines []string) {
	t.Helper()
	if len(lines) != 2 {
		t.Fatalf("%q are not an import and a kind", lines)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := strings.Replace(string(text), "var kinds = []actors.Kind{\n", "var kinds = []actors.Kind{\n\t"+lines[1]+"\n", 1)
	s = strings.Replace(s, "import (\n", "import (\n\t"+lines[0]+"\n", 1)
	write(t, file, s)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}
