package actorv1

import "encoding/json"

// The catalogue is encoded without protobuf reflection: its tables, for messages that are published
// only at the start, would stay in the memory of an idle daemon.

// AppendJSON appends x as protojson writes it, without spaces.
func (x *Listing) AppendJSON(b []byte) ([]byte, error) {
	return appended(b, struct {
		Path     string   `json:"path,omitempty"`
		Kind     string   `json:"kind,omitempty"`
		About    string   `json:"about,omitempty"`
		Services []string `json:"services,omitempty"`
	}{x.Path, x.Kind, x.About, x.Services})
}

type (
	indexJSON struct {
		Gateway string     `json:"gateway,omitempty"`
		Kinds   []kindJSON `json:"kinds,omitempty"`
		Ways    []wayJSON  `json:"ways,omitempty"`
	}
	kindJSON struct {
		Kind     string   `json:"kind,omitempty"`
		Doc      string   `json:"doc,omitempty"`
		Services []string `json:"services,omitempty"`
		Actors   []string `json:"actors,omitempty"`
	}
	wayJSON struct {
		Door   string `json:"door,omitempty"`
		Call   string `json:"call,omitempty"`
		Answer string `json:"answer,omitempty"`
		Cancel string `json:"cancel,omitempty"`
		Hear   string `json:"subscribe,omitempty"`
	}
)

// AppendJSON appends x as protojson writes it, without spaces.
func (x *Index) AppendJSON(b []byte) ([]byte, error) {
	m := indexJSON{Gateway: x.Gateway}
	for _, k := range x.Kinds {
		m.Kinds = append(m.Kinds, kindJSON{k.Kind, k.Doc, k.Services, k.Actors})
	}
	for _, w := range x.Ways {
		m.Ways = append(m.Ways, wayJSON{w.Door, w.Call, w.Answer, w.Cancel, w.Subscribe})
	}
	return appended(b, m)
}

func appended(b []byte, v any) ([]byte, error) {
	p, err := json.Marshal(v)
	return append(b, p...), err
}
