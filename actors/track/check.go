package track

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"gatewayd/schemas"
	trackv1 "gatewayd/schemas/track/v1"
)

// check finds what the rules of single fields cannot express.
func check(config proto.Message) (found []schemas.Violation) {
	cfg := config.(*trackv1.Track)
	names, ids := map[string]int{}, map[uint32]int{}
	many := false // the names of all fields are known at run time only
	for i, f := range cfg.Fields {
		key := func(name string) string { return fmt.Sprintf("fields[%d].%s", i, name) }
		s, err := sourceOf(i, f)
		switch {
		case err != nil:
			found = append(found, schemas.Wrong(key("from"), err)...)
			continue
		case !s.single() && f.Id != 0:
			found = append(found, schemas.Wrong(key("id"), fmt.Errorf("%q may match many fields, which cannot share one number", f.From))...)
			continue
		case !s.single():
			many = true
			continue
		}
		if other, taken := names[s.field.Name]; taken {
			found = append(found, schemas.Violation{Field: key("name"), Other: fmt.Sprintf("fields[%d].name", other),
				Message: fmt.Sprintf("%q is already the name of another field", s.field.Name)})
		}
		if other, taken := ids[s.field.ID]; taken {
			found = append(found, schemas.Violation{Field: key("id"), Other: fmt.Sprintf("fields[%d].id", other),
				Message: fmt.Sprintf("%d is already the number of another field", s.field.ID)})
		}
		names[s.field.Name], ids[s.field.ID] = i, i
	}
	for i, on := range cfg.RecordOn {
		if err := checkFilter(on); err != nil {
			found = append(found, schemas.Wrong(fmt.Sprintf("record-on[%d]", i), err)...)
		}
	}
	if _, err := triggerOf(cfg.Trigger); err != nil {
		found = append(found, schemas.Wrong("trigger", err)...)
	}
	if !many && len(found) == 0 {
		found = append(found, strangers(cfg.Trigger, slices.Collect(maps.Keys(names)))...)
	}
	return found
}

// checkFilter returns an error if the filter cannot stand below a class.
func checkFilter(filter string) error {
	tokens := strings.Split(filter, "/")
	for i, tok := range tokens {
		if tok == "+" || tok == "#" && i == len(tokens)-1 {
			continue
		}
		if tok == "" || strings.ContainsAny(tok, "+#*>. ") {
			return fmt.Errorf("%q is not a topic below \"event\", like \"field/rs485-1/+/failed\"", filter)
		}
	}
	return nil
}

// beside finds numbers that two tracks share, and fields whose actor or point does not exist.
func beside(all []schemas.Actor) (found []schemas.Finding) {
	first := map[uint32]string{}
	var paths []string
	for _, a := range all {
		paths = append(paths, a.Path)
	}
	for _, a := range all {
		cfg, ok := a.Config.(*trackv1.Track)
		if !ok {
			continue
		}
		if other := first[cfg.Number]; other != "" {
			found = append(found, schemas.Finding{Actor: a.Path, Beside: other, Violation: schemas.Violation{
				Field: "number", Other: "number", Message: fmt.Sprintf("%q is also track %d: each track needs its own number", other, cfg.Number),
			}})
			continue
		}
		first[cfg.Number] = a.Path
		for i, f := range cfg.Fields {
			s, err := sourceOf(i, f)
			if err != nil || !s.single() {
				continue
			}
			why := schemas.NoPoint(all, s.path, s.point)
			if !slices.Contains(paths, s.path) {
				why = fmt.Sprintf("no actor has the path %q%s", s.path, schemas.DidYouMeanPath(s.path, paths))
			}
			if why != "" {
				found = append(found, schemas.Finding{Actor: a.Path, Violation: schemas.Violation{Field: fmt.Sprintf("fields[%d].from", i), Message: why}})
			}
		}
	}
	return found
}
