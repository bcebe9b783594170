package config

import (
	"fmt"

	"gatewayd/schemas"
)

// checkClaims finds actors that claim a resource another actor has claimed: an address to listen
// on, or a device.
func (r *reader) checkClaims() {
	type claim struct {
		schemas.Claim
		by reading
	}
	var claims []claim
	for _, one := range r.readings {
		for _, c := range schemas.Claims(one.node.Config) {
			for _, b := range claims {
				if c.Clashes(b.Claim) {
					r.tell(one, schemas.Violation{Field: c.Field, Message: taken(c, b.Claim, b.by)})
					break
				}
			}
			claims = append(claims, claim{c, one})
		}
	}
}

// taken says which actor has claimed the resource already.
func taken(c, had schemas.Claim, by reading) string {
	place := fmt.Sprintf("%q", had.Name)
	if line := by.line(had.Field); line > 0 {
		place += fmt.Sprintf(" (line %d)", line)
	}
	if c.Network == "" {
		return fmt.Sprintf("%q opens %s, and only one actor can", by.node.Path, place)
	}
	return fmt.Sprintf("%q listens on %s port %s: choose another port", by.node.Path, c.Network, place)
}

// checkBeside lets each kind that is present check all actors.
func (r *reader) checkBeside(root *Node) {
	var all []schemas.Actor
	present, read := map[string]bool{}, map[string]reading{}
	root.walk(func(n *Node) {
		if n.Kind != "" {
			all = append(all, schemas.Actor{Path: n.Path, Kind: n.Kind, Config: n.Config})
			present[n.Kind] = true
		}
	})
	for _, one := range r.readings {
		read[one.node.Path] = one
	}
	for _, k := range r.list {
		if k.Beside == nil || !present[k.Name] {
			continue
		}
		for _, f := range k.Beside(all) {
			one, known := read[f.Actor]
			if !known { // an actor that the file does not mention
				one = reading{node: root, key: f.Actor, wrong: map[string]bool{}}
			}
			if touched(one.wrong, f.Field) {
				continue
			}
			if other := read[f.Beside]; f.Other != "" && other.node != nil {
				if touched(other.wrong, f.Other) {
					continue
				}
				f.Message += fmt.Sprintf(" (line %d)", other.line(f.Other))
			}
			r.tell(one, f.Violation)
		}
	}
}
