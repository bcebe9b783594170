package config

import (
	"fmt"
	"slices"
	"strings"

	"gatewayd/schemas"
)

// checkNames finds references to actors that do not exist or do not offer the required service.
func (r *reader) checkNames() {
	for _, one := range r.readings {
		for _, ref := range schemas.References(one.node.Config) {
			if ref.Name == "" {
				continue
			}
			if message := r.dangling(ref); message != "" {
				one.wrong[ref.Field] = true
				r.problem(one.line(ref.Field), one.full(ref.Field), "%s", message)
			}
		}
	}
}

// dangling returns what is wrong with a reference, or "".
func (r *reader) dangling(ref schemas.Reference) string {
	kind, exists := r.actors[ref.Name]
	if exists && (kind == "" || ref.Service == "*" || slices.Contains(r.kinds[kind].Services, ref.Service)) {
		return ""
	}
	offering := r.offering(ref.Service)
	switch {
	case !exists && r.groups[ref.Name]:
		if ref.Service == "*" {
			return ""
		}
		return fmt.Sprintf("%q is a group, not an actor%s", ref.Name, whoOffers(ref.Service, offering))
	case !exists:
		if hint := schemas.DidYouMeanPath(ref.Name, offering); hint != "" {
			return fmt.Sprintf("no actor %q%s", ref.Name, hint)
		}
		return fmt.Sprintf("no actor %q%s", ref.Name, whoOffers(ref.Service, offering))
	}
	return fmt.Sprintf("%q is of kind %s, which cannot be used here%s", ref.Name, kind, whoOffers(ref.Service, offering))
}

// offering returns the paths of the actors that offer a service, sorted.
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

func whoOffers(service string, paths []string) string {
	switch n := len(paths); {
	case service == "*":
		return ""
	case n == 0:
		return fmt.Sprintf("; no actor in this config offers %s", service)
	case n > 5:
		list := strings.ReplaceAll(schemas.Quoted(paths[:5]), " or ", ", ")
		return fmt.Sprintf("; %s is offered by %s and %d more", service, list, n-5)
	default:
		return fmt.Sprintf("; %s is offered by %s", service, strings.ReplaceAll(schemas.Quoted(paths), " or ", " and "))
	}
}
