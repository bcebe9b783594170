package config

import (
	"fmt"
	"slices"
	"strings"

	"gatewayd/schemas"
)

// checkNames finds names of actors that do not exist or do not offer what they
// are named for.
func (r *reader) checkNames() {
	for _, one := range r.readings {
		for _, ref := range schemas.References(one.node.Config) {
			if ref.Name == "" {
				continue
			}
			key := ref.Field
			if one.key != "" {
				key = one.key + "." + ref.Field
			}
			if message := r.dangling(ref); message != "" {
				r.problem(max(one.lines[ref.Field], one.node.Line), key, "%s", message)
			}
		}
	}
}

// dangling says what is wrong with a reference; empty if nothing is.
func (r *reader) dangling(ref schemas.Reference) string {
	kind, exists := r.actors[ref.Name]
	offering := r.offering(ref.Service)
	switch {
	case !exists && r.groups[ref.Name]:
		if ref.Service == "*" {
			return ""
		}
		return fmt.Sprintf("%q is a group and does not offer %s%s", ref.Name, ref.Service, whoDoes(offering))
	case !exists:
		if hint := didYouMeanActor(ref.Name, offering); hint != "" {
			return fmt.Sprintf("no actor %q%s", ref.Name, hint)
		}
		return fmt.Sprintf("no actor %q%s", ref.Name, whoDoes(offering))
	case kind == "" || ref.Service == "*" || slices.Contains(r.kinds[kind].Services, ref.Service):
		return ""
	}
	return fmt.Sprintf("%q is a %s and does not offer %s%s", ref.Name, kind, ref.Service, whoDoes(offering))
}

// offering are the paths of the actors that offer a service, sorted.
func (r *reader) offering(service string) []string {
	var paths []string
	for path, kind := range r.actors {
		if service == "*" || slices.Contains(r.kinds[kind].Services, service) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// didYouMeanActor also finds the actor whose path ends as name does.
func didYouMeanActor(name string, paths []string) string {
	if hint := schemas.DidYouMean(name, paths); hint != "" {
		return hint
	}
	for _, p := range paths {
		if strings.HasSuffix(p, "/"+strings.Trim(name, "/")) {
			return fmt.Sprintf(", did you mean %q?", p)
		}
	}
	last := name[strings.LastIndex(name, "/")+1:]
	for _, p := range paths {
		if strings.HasSuffix(p, "/"+last) {
			return fmt.Sprintf(", did you mean %q?", p)
		}
	}
	return ""
}

func whoDoes(paths []string) string {
	switch len(paths) {
	case 0:
		return "; no actor in this file does"
	case 1:
		return fmt.Sprintf("; %q does", paths[0])
	}
	if len(paths) > 5 {
		return fmt.Sprintf("; %s and %d others do", strings.ReplaceAll(schemas.Quoted(paths[:5]), " or ", ", "), len(paths)-5)
	}
	return fmt.Sprintf("; %s do", strings.ReplaceAll(schemas.Quoted(paths), " or ", " and "))
}
