package actors_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gatewayd/actors"
	gatewayv1 "gatewayd/schemas/gateway/v1"

	"google.golang.org/protobuf/proto"
)

// sources calls each for every file below dir that is not a test.
func sources(t *testing.T, dir string, each func(file string, f *ast.File)) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == "testdata" {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		n++
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err == nil {
			each(file, f)
		}
		return err
	})
	if err != nil || n == 0 {
		t.Fatalf("%d files in %s: %v", n, dir, err)
	}
}

// traps are parts of protoactor that hang, spin or stop for good.
func trap(name string) bool {
	for _, part := range []string{"Future", "Stash", "ReceiveTimeout", "Bounded", "NotInfluenceReceiveTimeout"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return slices.Contains([]string{
		"NewOneForOneStrategy", "NewAllForOneStrategy", "NewExponentialBackoffStrategy", "NewRestartingStrategy",
		"RestartingSupervisorStrategy", "DefaultSupervisorStrategy", "DefaultDecider", "NewGuardian", "WithGuardian",
		"AwaitTermination", "ReenterAfter",
	}, name)
}

func TestNoTrapsOfProtoactor(t *testing.T) {
	for _, dir := range []string{".", "../supervisor"} {
		sources(t, dir, func(file string, f *ast.File) {
			for _, imp := range f.Imports {
				if p := strings.Trim(imp.Path.Value, `"`); strings.HasPrefix(p, "github.com/asynkron/protoactor-go/") && !strings.HasSuffix(p, "/actor") {
					t.Errorf("%s imports %s", file, p)
				}
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok && trap(s.Sel.Name) {
					t.Errorf("%s uses %s", file, s.Sel.Name)
				}
				return true
			})
		})
	}
}

// An actor has no goroutine, channel, lock or sleep of its own: the host provides for all that. The
// kind erratic is exempt; it misbehaves on purpose.
func TestInsideAnActor(t *testing.T) {
	kinds, err := filepath.Glob("*/README.md")
	if err != nil || len(kinds) < 4 {
		t.Fatalf("%d kinds: %v", len(kinds), err)
	}
	for _, readme := range kinds {
		dir := filepath.Dir(readme)
		sources(t, dir, func(file string, f *ast.File) {
			for _, imp := range f.Imports {
				switch p := strings.Trim(imp.Path.Value, `"`); p {
				case "sync", "sync/atomic", "gatewayd/bus":
					t.Errorf("%s imports %s", file, p)
				}
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if what := forbidden(n); what != "" && (dir != "erratic" || what != "time.Sleep") {
					t.Errorf("%s uses %s", file, what)
				}
				return true
			})
		})
	}
}

func forbidden(n ast.Node) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "go"
	case *ast.ChanType:
		return "chan"
	case *ast.SelectStmt:
		return "select"
	case *ast.SelectorExpr:
		x, ok := n.X.(*ast.Ident)
		if ok && x.Name == "time" && slices.Contains([]string{"Sleep", "Tick", "NewTicker", "NewTimer", "AfterFunc", "After"}, n.Sel.Name) {
			return "time." + n.Sel.Name
		}
		if ok && x.Name == "recover" {
			return "recover"
		}
	case *ast.FuncDecl:
		if n.Recv == nil && n.Name.Name == "init" {
			return "init"
		}
	}
	return ""
}

func TestCheckKind(t *testing.T) {
	good := func() actors.Kind {
		return actors.Define(actors.Kind{Name: "good-1", Doc: "is good"}, func(*gatewayv1.Group) actors.Actor { return nil })
	}
	for name, tt := range map[string]struct {
		spoil func(k *actors.Kind)
		says  string
	}{
		"good":       {func(*actors.Kind) {}, ""},
		"no name":    {func(k *actors.Kind) { k.Name = "" }, "a name is"},
		"upper case": {func(k *actors.Kind) { k.Name = "Good" }, "a name is"},
		"path":       {func(k *actors.Kind) { k.Name = "good/1" }, "a name is"},
		"no doc":     {func(k *actors.Kind) { k.Doc = "" }, "no doc"},
		"undefined":  {func(k *actors.Kind) { *k = actors.Kind{Name: "good", Doc: "is not"} }, "Define"},
	} {
		t.Run(name, func(t *testing.T) {
			k := good()
			tt.spoil(&k)
			err := actors.CheckKind(&k)
			if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want %q", err, tt.says)
			}
		})
	}
	k := good()
	if got := k.ConfigType().New().Interface(); !proto.Equal(got, &gatewayv1.Group{}) {
		t.Errorf("config is a %T", got)
	}
}
