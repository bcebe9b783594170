package files

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	configv1 "gatewayd/schemas/config/v1"
	"gatewayd/supervisor/config"
)

// versionsKept is the number of configs kept in the history.
const versionsKept = 50

// Source is a config file and the history of the configs that were in force. The history is in the
// data directory, one plain file per version, so that it can be read while the bus is broken.
type Source struct {
	kinds Kinds
	file  string
	dir   string

	mu    sync.Mutex
	given uint64            // highest version number assigned so far
	sum   [sha256.Size]byte // of the text with that number
}

// NewSource returns the Source of a gateway with these kinds, this config file and this data
// directory.
func NewSource(kinds []actors.Kind, file, data string) *Source {
	return &Source{kinds: kinds, file: file, dir: filepath.Join(data, "config")}
}

func (s *Source) Read() ([]byte, error) { return os.ReadFile(s.file) }

func (s *Source) Parse(text []byte) (*config.Tree, config.Problems) {
	return s.kinds.Parse(s.file, text)
}

func (s *Source) Write(text []byte) error { return Write(s.file, text) }

func (s *Source) Reject() (file, beside string, err error) {
	if file, err = filepath.Abs(s.file); err != nil {
		file = s.file
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return file, "", err
	}
	beside = file + ".rejected"
	if err := WriteLike(file, beside, text); err != nil {
		return file, "", err
	}
	return file, beside, nil
}

func (s *Source) Keep(text []byte) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.numbers()
	last := uint64(0)
	if len(all) > 0 {
		last = all[0]
		if known, err := os.ReadFile(s.path(last)); err == nil && bytes.Equal(known, text) && last >= s.given {
			return last, nil
		}
	}
	if sum := sha256.Sum256(text); last >= s.given || s.sum != sum {
		s.given, s.sum = max(s.given, last)+1, sum
	}
	if err != nil {
		return s.given, err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return s.given, err
	}
	for len(all) >= versionsKept {
		_ = os.Remove(s.path(all[len(all)-1]))
		all = all[:len(all)-1]
	}
	return s.given, Write(s.path(s.given), text)
}

func (s *Source) Versions() ([]*configv1.Version, error) {
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

func (s *Source) path(n uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%06d.toml", n))
}

// numbers returns the stored versions, newest first.
func (s *Source) numbers() ([]uint64, error) {
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
