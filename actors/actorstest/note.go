package actorstest

import (
	"encoding/json"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"gatewayd/protocols/durable"
)

func (r *Rig) note(path, leaf string) string {
	return filepath.Join(r.System.Dir, filepath.FromSlash(path), leaf+".json")
}

// Noted reads the note of the actor called path from disk, and reports whether there is one.
func (r *Rig) Noted(path, leaf string, m proto.Message) bool {
	var content json.RawMessage
	return durable.Load(r.note(path, leaf), &content) == nil && protojson.Unmarshal(content, m) == nil
}

// Note writes a note for the actor called path, as if an earlier life had written it.
func (r *Rig) Note(path, leaf string, m proto.Message) {
	r.t.Helper()
	file := r.note(path, leaf)
	content, err := protojson.Marshal(m)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o700)
	}
	if err == nil {
		err = durable.Save(file, json.RawMessage(content), 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// LoseDisk makes the actors' files inaccessible, for reading and writing, until back is called.
func (r *Rig) LoseDisk() (back func()) {
	r.t.Helper()
	dir := r.System.Dir
	must := func(err error) {
		r.t.Helper()
		if err != nil {
			r.t.Fatal(err)
		}
	}
	must(os.Rename(dir, dir+".away"))
	must(os.WriteFile(dir, nil, 0o600)) // a file in place of the directory: root is not bound by file modes
	return func() {
		r.t.Helper()
		must(os.Remove(dir))
		must(os.Rename(dir+".away", dir))
	}
}
