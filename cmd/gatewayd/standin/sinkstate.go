package standin

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"gatewayd/protocols/durable"
	"gatewayd/protocols/mdi"
)

// sinkState stores what mdi-sink has taken, in a file with one JSON object per line. Each batch is
// appended; the file is rewritten when it has grown by more than maxGrown bytes.
type sinkState struct {
	name  string
	file  *os.File
	grown int64
}

const maxGrown = 4 << 20

// openSinkState reads what earlier runs have taken. A last line that a crash has cut off was not
// acknowledged and is dropped.
func openSinkState(name string) (*sinkState, []mdi.Seen, error) {
	text, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	var all []mdi.Seen
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		var one mdi.Seen
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			if lines.Scan() {
				return nil, nil, fmt.Errorf("%s: not a state file of mdi-sink: %w", name, err)
			}
			break
		}
		all = append(all, one)
	}
	s := &sinkState{name: name}
	return s, all, s.renew(all)
}

// renew replaces the file by one with everything there is to remember.
func (s *sinkState) renew(all []mdi.Seen) error {
	f, err := os.CreateTemp(filepath.Dir(s.name), ".mdi-sink-*")
	if err != nil {
		return err
	}
	_, err = f.Write(linesOf(all))
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = durable.Rename(f.Name(), s.name)
	}
	if err != nil {
		_ = f.Close()
		_ = os.Remove(f.Name())
		return err
	}
	if s.file != nil {
		_ = s.file.Close()
	}
	s.file, s.grown = f, 0
	return nil
}

// remember is the Remember of mdi.SinkConfig.
func (s *sinkState) remember(taken []mdi.Seen, all func() []mdi.Seen) error {
	if s.grown > maxGrown {
		return s.renew(all())
	}
	n, err := s.file.Write(linesOf(taken))
	s.grown += int64(n)
	if err == nil {
		err = s.file.Sync()
	}
	if err != nil {
		s.grown = maxGrown + 1 // renew the file next time: nothing may follow a line that is half written
		return fmt.Errorf("state: %w", err)
	}
	return nil
}

func linesOf(all []mdi.Seen) []byte {
	var text bytes.Buffer
	lines := json.NewEncoder(&text)
	for _, one := range all {
		_ = lines.Encode(one) // strings and numbers: cannot fail
	}
	return text.Bytes()
}
