package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	configv1 "gatewayd/schemas/config/v1"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	"gatewayd/supervisor"
	"gatewayd/supervisor/config"
)

// implicit are the kinds of which one actor always runs.
var implicit = []string{"bus", "config", "drill"}

// parse reads a config text.
func parse(file string, text []byte) (*config.Tree, config.Problems) {
	return config.Parse(file, text, configKinds(), implicit...)
}

// load reads a config file.
func load(file string) (*config.Tree, config.Problems) {
	return config.Load(file, configKinds(), implicit...)
}

// configKinds are all kinds as the config reader needs them.
func configKinds() []config.Kind {
	var all []config.Kind
	for _, k := range allKinds(nil, nil) {
		all = append(all, config.Kind{Name: k.Name, Config: k.ConfigType(), Services: k.Offers(), Complete: k.Complete, Check: k.Check, Beside: k.Beside})
	}
	return all
}

// allKinds are the kinds of kinds.go and the one that needs the running bus.
func allKinds(b supervisor.Bus, running *gatewayv1.Bus) []actors.Kind {
	return append(slices.Clone(kinds), supervisor.BusKind(b, running))
}

// versionsKept bounds the history of configs.
const versionsKept = 50

// fileSource is a config file and, in the data directory, the history of what
// was in force: one plain file per version, so that a broken bus cannot take it
// away.
type fileSource struct {
	file string
	dir  string
}

func (s fileSource) Read() ([]byte, error) { return os.ReadFile(s.file) }

func (s fileSource) Parse(text []byte) (*config.Tree, config.Problems) { return parse(s.file, text) }

func (s fileSource) Write(text []byte) error { return writeFile(s.file, text) }

func (s fileSource) Keep(text []byte) (uint64, error) {
	all, err := s.numbers()
	if err != nil {
		return 0, err
	}
	next := uint64(1)
	if len(all) > 0 {
		if last, err := os.ReadFile(s.path(all[0])); err == nil && string(last) == string(text) {
			return all[0], nil
		}
		next = all[0] + 1
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return 0, err
	}
	for len(all) >= versionsKept {
		_ = os.Remove(s.path(all[len(all)-1]))
		all = all[:len(all)-1]
	}
	return next, writeFile(s.path(next), text)
}

func (s fileSource) Versions() ([]*configv1.Version, error) {
	all, err := s.numbers()
	if err != nil {
		return nil, err
	}
	var versions []*configv1.Version
	for _, n := range all {
		text, err := os.ReadFile(s.path(n))
		info, statErr := os.Stat(s.path(n))
		if err == nil && statErr == nil {
			versions = append(versions, &configv1.Version{Version: n, Time: timestamppb.New(info.ModTime()), Toml: string(text)})
		}
	}
	return versions, nil
}

func (s fileSource) path(n uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%06d.toml", n))
}

// numbers lists the versions there are, newest first.
func (s fileSource) numbers() ([]uint64, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	var all []uint64
	for _, e := range entries {
		if n, err := strconv.ParseUint(strings.TrimSuffix(e.Name(), ".toml"), 10, 64); err == nil {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	slices.Reverse(all)
	return all, nil
}

// writeFile replaces a file so that a power cut leaves the old or the new text.
func writeFile(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if old, statErr := os.Stat(path); statErr == nil {
		_ = f.Chmod(old.Mode())
	}
	if _, err = f.Write(text); err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
