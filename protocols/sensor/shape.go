package sensor

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Shape says how the devices of a profile are recognised. Each line is a topic, with {device} for
// the name, and paths that must exist in the JSON there.
type Shape struct {
	Profile string
	Lines   []string
}

// Seen is a topic that a client has published to.
type Seen struct {
	Topic, Client string
	Payload       []byte // possibly truncated
	Time          time.Time
	Refused       bool
}

// Fit is a device recognised by its topics.
type Fit struct {
	Profile, Device string
	Topics          []Seen
}

// Recognise finds the devices to which topics belong, each with the profile that matches most
// topics, and returns the remaining topics.
func Recognise(shapes []Shape, all []Seen) (found []Fit, rest []Seen) {
	best := map[string]Fit{}
	for _, s := range shapes {
		for _, f := range s.fits(all) {
			if old, ok := best[f.Device]; !ok || len(f.Topics) > len(old.Topics) ||
				len(f.Topics) == len(old.Topics) && weight(shapes, f.Profile) > weight(shapes, old.Profile) {
				best[f.Device] = f
			}
		}
	}
	taken := map[string]bool{}
	for _, f := range best {
		found = append(found, f)
		for _, s := range f.Topics {
			taken[s.Topic] = true
		}
	}
	slices.SortFunc(found, func(a, b Fit) int { return strings.Compare(a.Device, b.Device) })
	for _, s := range all {
		if !taken[s.Topic] {
			rest = append(rest, s)
		}
	}
	slices.SortFunc(rest, func(a, b Seen) int { return strings.Compare(a.Topic, b.Topic) })
	return found, rest
}

// weight returns how specific a profile is.
func weight(shapes []Shape, profile string) int {
	n := 0
	for _, s := range shapes {
		if s.Profile == profile {
			n += len(strings.Fields(strings.Join(s.Lines, " ")))
		}
	}
	return n
}

// fits returns the devices for which every line of the shape matches.
func (s *Shape) fits(all []Seen) []Fit {
	var found []Fit
	if len(s.Lines) == 0 {
		return nil
	}
	for _, first := range all {
		device, ok := match(s.Lines[0], &first)
		if !ok {
			continue
		}
		f := Fit{s.Profile, device, []Seen{first}}
		for _, line := range s.Lines[1:] {
			i := slices.IndexFunc(all, func(x Seen) bool {
				other, ok := match(line, &x)
				return ok && (other == device || other == "")
			})
			if i < 0 {
				f.Topics = nil
				break
			}
			f.Topics = append(f.Topics, all[i])
		}
		if f.Topics != nil {
			found = append(found, f)
		}
	}
	return found
}

// match reports whether a topic matches a line, and for which device.
func match(line string, s *Seen) (device string, ok bool) {
	pattern, paths, _ := strings.Cut(line, " ")
	before, after, named := strings.Cut(pattern, Name)
	switch {
	case !named && s.Topic != pattern:
		return "", false
	case named:
		rest, ok := strings.CutPrefix(s.Topic, before)
		device, ok2 := strings.CutSuffix(rest, after)
		if !ok || !ok2 || device == "" {
			return "", false
		}
		return device, holdsPaths(s.Payload, strings.Fields(paths))
	}
	return "", holdsPaths(s.Payload, strings.Fields(paths))
}

// holdsPaths reports whether all paths exist in a payload that may be truncated.
func holdsPaths(payload []byte, paths []string) bool {
	if len(paths) == 0 {
		return true
	}
	have := map[string]bool{}
	walk(json.NewDecoder(bytes.NewReader(payload)), nil, func(p Path) { have[p.String()] = true })
	for _, text := range paths {
		if p, err := ParsePath(text); err != nil || !have[p.String()] {
			return false
		}
	}
	return true
}

// deepest is the largest depth examined in a document.
const deepest = 8

// walk calls each with the path of everything up to the first error, for which it returns false.
func walk(dec *json.Decoder, at Path, each func(Path)) bool {
	t, err := dec.Token()
	if err != nil || len(at) > deepest {
		return false
	}
	each(at)
	delim, _ := t.(json.Delim)
	for i := 0; delim == '{' || delim == '['; i++ {
		if !dec.More() {
			_, err := dec.Token()
			return err == nil
		}
		s := step{index: i}
		if delim == '{' {
			key, err := dec.Token()
			if err != nil {
				return false
			}
			s.key, _ = key.(string)
			s.index = -1
		}
		if !walk(dec, append(slices.Clip(at), s), each) {
			return false
		}
	}
	return true
}
