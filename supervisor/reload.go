package supervisor

import (
	"context"
	"slices"

	"gatewayd/actors"
	"gatewayd/bus"
	configv1 "gatewayd/schemas/config/v1"
	"gatewayd/supervisor/config"
)

// Source is where the config comes from and where its versions are kept. Its methods are called
// outside any mailbox and may block.
type Source interface {
	// Read returns the text of the config file.
	Read() ([]byte, error)
	// Parse parses and checks a text.
	Parse(text []byte) (*config.Tree, config.Problems)
	// Write replaces the contents of the config file.
	Write(text []byte) error
	// Reject copies the contents of the config file to a file beside it and returns both names.
	Reject() (file, beside string, err error)
	// Keep adds a text to the history and returns its version. If it fails, the returned version is
	// reserved for this text, which can be added later; no other text gets it.
	Keep(text []byte) (version uint64, err error)
	// Versions returns the history, newest first.
	Versions() ([]*configv1.Version, error)
}

// applying is a config change in progress; the root has at most one at a time.
type applying struct {
	req    *actors.Request
	source Source
	write  bool // the text does not come from the file: write it there
	back   bool // restores the last good config; not judged itself
	old    *config.Tree
	good   *config.Tree // restored if the change does harm
	next   *config.Tree
	todo   []config.Change
	all    []config.Change
	step   int                 // counts changes made: messages about an earlier one are stale
	before map[string]standing // health before the change
	answer func(o outcome) any
}

// outcome is the result of a change.
type outcome struct {
	version  uint64
	changes  []*configv1.Change
	problems []*configv1.Problem // if there are any, nothing was changed
	warnings []*configv1.Problem // beside those problems
	unkept   string              // why it is not on disk
	file     string              // of a rollback: the file that was overwritten,
	rejected string              // where its old contents are now,
	restored uint64              // and the version of the restored text
}

// refused returns the outcome of a config with errors.
func refused(all config.Problems) outcome {
	problems, warnings := all.Split()
	return outcome{problems: problems.Proto(), warnings: warnings.Proto()}
}

// warnings returns the warnings about the new config.
func (a *applying) warnings(o outcome) []*configv1.Problem {
	if a.next == nil {
		return o.warnings
	}
	return a.next.Warnings.Proto()
}

type (
	// parsed is a text read and checked outside the mailbox.
	parsed struct {
		a        *applying
		problems config.Problems
		err      error
	}
	// kept is a config in force, stored on disk unless unkept is set.
	kept struct {
		a *applying
		outcome
		over []byte // what the file holds instead
		owes bool   // the file still has to be written
	}
)

// serveConfig answers requests on behalf of actor config, which has no access to the tree.
func (g *group) serveConfig(r *actors.Request) {
	source := g.t.opts.Source
	if g.path != Root || source == nil {
		r.Refuse(bus.Errorf(bus.Unimplemented, "%s has no config file", g.path))
		return
	}
	a := &applying{req: r, source: source}
	read := source.Read
	switch m := r.Message().(type) {
	case *configv1.GetRequest:
		g.reply(r, func() (any, error) { return g.t.getConfig() })
		return
	case *configv1.HistoryRequest:
		g.reply(r, func() (any, error) {
			versions, err := source.Versions()
			return &configv1.HistoryResponse{Versions: versions}, err
		})
		return
	case *configv1.CheckRequest:
		g.reply(r, func() (any, error) { return g.t.checkConfig([]byte(m.Toml)), nil })
		return
	case *configv1.ApplyRequest:
		a.write, read = true, given(m.Toml)
		a.answer = func(o outcome) any {
			return &configv1.ApplyResponse{Version: o.version, Changes: o.changes, Problems: o.problems, Warnings: a.warnings(o), Unkept: o.unkept}
		}
	case *configv1.ReloadRequest:
		a.answer = func(o outcome) any {
			return &configv1.ReloadResponse{Version: o.version, Changes: o.changes, Problems: o.problems, Warnings: a.warnings(o), Unkept: o.unkept}
		}
	case *configv1.RollbackRequest:
		a.write = true
		read = func() ([]byte, error) { return earlier(source, m.Version) }
		a.answer = func(o outcome) any {
			return &configv1.RollbackResponse{Version: o.version, Changes: o.changes, Unkept: o.unkept}
		}
	case *configv1.KeepRequest:
		g.keepAgain(a)
		return
	}
	g.read(a, read)
}

// reply answers with the result of fn, which runs outside the mailbox.
func (g *group) reply(r *actors.Request, fn func() (any, error)) {
	go func() {
		var msg any
		err := guarded(context.Background(), func(context.Context) (err error) {
			msg, err = fn()
			return err
		})
		answer(r, msg, err)
	}()
}

func given(text string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(text), nil }
}

// earlier returns the text of a version; 0 is the one before the newest.
func earlier(source Source, version uint64) ([]byte, error) {
	versions, err := source.Versions()
	if err != nil {
		return nil, err
	}
	for i, v := range versions {
		if v.Version == version || version == 0 && i == 1 {
			return []byte(v.Toml), nil
		}
	}
	return nil, bus.Errorf(bus.NotFound, "the history has no such version")
}

func (t *Tree) getConfig() (*configv1.GetResponse, error) {
	resp := &configv1.GetResponse{Toml: string(t.Config().Text.Bytes())}
	versions, err := t.opts.Source.Versions()
	if len(versions) > 0 {
		resp.Version = versions[0].Version
	}
	return resp, err
}

func (t *Tree) checkConfig(text []byte) *configv1.CheckResponse {
	old := t.Config()
	next, problems := t.opts.Source.Parse(text)
	if len(problems) > 0 {
		o := refused(problems)
		return &configv1.CheckResponse{Problems: o.problems, Warnings: o.warnings}
	}
	resp := &configv1.CheckResponse{}
	all := config.Diff(old, next)
	if renames(all) {
		resp.Problems = config.Problems{{File: next.File, Line: 1, Key: "gateway", Message: renamed}}.Proto()
		return resp
	}
	resp.Changes, resp.Warnings = protoChanges(all), next.Warnings.Proto()
	return resp
}

// renamed says why a gateway cannot change its name while it runs.
const renamed = "the name of the gateway cannot change while it runs: restart the daemon"

// renames reports whether the changes rename the gateway.
func renames(all []config.Change) bool {
	return slices.ContainsFunc(all, func(c config.Change) bool { return c.Path == "" && c.Action == config.Restart })
}

// read reads and checks a text outside the mailbox.
func (g *group) read(a *applying, read func() ([]byte, error)) {
	if g.applying != nil {
		a.req.Refuse(bus.Errorf(bus.Aborted, "another config change is under way"))
		return
	}
	g.applying = a
	g.aside(func() any {
		var problems config.Problems
		err := guarded(context.Background(), func(context.Context) error {
			text, err := read()
			if err == nil {
				a.next, problems = a.source.Parse(text)
			}
			return err
		})
		return parsed{a, problems, err}
	})
}

func protoChanges(all []config.Change) []*configv1.Change {
	var out []*configv1.Change
	for _, c := range all {
		out = append(out, &configv1.Change{Path: c.Path, Action: string(c.Action)})
	}
	return out
}
