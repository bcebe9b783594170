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

// Noted reads what the actor called path has noted under a leaf, as it stands on disk, and says whether there is anything.
func (r *Rig) Noted(path, leaf string, m proto.Message) bool {
	var content json.RawMessage
	return durable.Load(r.note(path, leaf), &content) == nil && protojson.Unmarshal(content, m) == nil
}

// Note writes what the actor called path shall have noted before.
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

// LoseDisk has the actors' files be out of reach, for reading and for writing, until the returned function is called.
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
	must(os.WriteFile(dir, nil, 0o600)) // root may do what no mode allows
	return func() {
		r.t.Helper()
		must(os.Remove(dir))
		must(os.Rename(dir+".away", dir))
	}
}
