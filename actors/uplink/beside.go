package uplink

import (
	"fmt"
	"slices"
	"strings"

	"gatewayd/protocols/record"
	far "gatewayd/protocols/uplink"
	"gatewayd/schemas"
	trackv1 "gatewayd/schemas/track/v1"
)

// fields returns the names that the fields of the tracks an uplink sends have at its far end. known
// is false if there are none, or if only a running gateway knows them all because a field is
// configured with a wildcard.
func fields(all []schemas.Actor, config Config) (names []string, known bool) {
	s, err := settingsOf(config)
	if err != nil {
		return nil, false
	}
	for _, a := range all {
		cfg, ok := a.Config.(*trackv1.Track)
		if !ok || len(s.cfg.Tracks) > 0 && !slices.ContainsFunc(s.cfg.Tracks, func(f string) bool { return covers(strings.Trim(f, "/"), a.Path) }) {
			continue
		}
		r := record.Record{Track: a.Path, Sequence: 1}
		for _, f := range cfg.Fields {
			if strings.Contains(f.From, "+") {
				return nil, false
			}
			name := f.Name
			if name == "" {
				name = f.From[strings.LastIndexByte(f.From, '/')+1:]
			}
			r.Fields = append(r.Fields, record.Field{Name: name, Value: "x"})
		}
		sent, _ := s.table.Route(r, far.Free)
		for _, f := range sent.Fields {
			names = append(names, f.Name)
		}
	}
	return names, len(names) > 0
}

// unmatchedTracks returns a finding for each track filter that matches no track.
func unmatchedTracks[C Config](all []schemas.Actor) (found []schemas.Finding) {
	var tracks []string
	for _, a := range all {
		if _, ok := a.Config.(*trackv1.Track); ok {
			tracks = append(tracks, a.Path)
		}
	}
	for _, a := range all {
		cfg, ok := a.Config.(C)
		if !ok {
			continue
		}
		look := func(key string, filters []string) {
			for i, f := range filters {
				f = strings.Trim(f, "/")
				if slices.ContainsFunc(tracks, func(path string) bool { return covers(f, path) }) {
					continue
				}
				found = append(found, schemas.Finding{Actor: a.Path, Violation: schemas.Violation{
					Field: fmt.Sprintf("%s[%d]", key, i), Warning: true, Message: fmt.Sprintf("%q matches no track%s", f, schemas.DidYouMeanPath(f, tracks)),
				}})
			}
		}
		look("send.tracks", cfg.GetSend().GetTracks())
		for i, r := range cfg.GetSend().GetRules() {
			look(fmt.Sprintf("send.rules[%d].tracks", i), r.Tracks)
		}
	}
	return found
}

// Named returns a finding for each record field that a config refers to but no track sent by the
// uplink has. named returns the referenced field names by config key.
func Named[C Config](all []schemas.Actor, named func(C) map[string]string) (found []schemas.Finding) {
	for _, a := range all {
		cfg, ok := a.Config.(C)
		if !ok {
			continue
		}
		has, known := fields(all, cfg)
		if !known {
			continue
		}
		for key, name := range named(cfg) {
			if name != "" && !slices.Contains(has, name) {
				found = append(found, schemas.Finding{Actor: a.Path, Violation: schemas.Violation{
					Field: key, Warning: true, Message: fmt.Sprintf("no track of this uplink has a field %q%s", name, schemas.DidYouMean(name, has)),
				}})
			}
		}
	}
	slices.SortFunc(found, func(a, b schemas.Finding) int { return strings.Compare(a.Actor+a.Field, b.Actor+b.Field) })
	return found
}
