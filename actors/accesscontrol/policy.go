package accesscontrol

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/protocols/access"
	"gatewayd/schemas"
	accessv1 "gatewayd/schemas/access/v1"
)

// policy returns the policy of a config in which some identities are revoked.
func policy(cfg *accessv1.Access, revoked []string) (*access.Policy, error) {
	who := make([]access.Credentials, len(cfg.Identities))
	for i, id := range cfg.Identities {
		var err error
		if who[i], err = credentials(id); err != nil {
			return nil, fmt.Errorf("identity %s: %w", id.Name, err)
		}
		who[i].Revoked = slices.Contains(revoked, id.Name)
	}
	return access.New(roles(cfg), who, cfg.Anonymous)
}

// check finds what the rules of single fields cannot express.
func check(config proto.Message) (all []schemas.Violation) {
	cfg := config.(*accessv1.Access)
	for i, r := range roles(cfg) {
		if _, err := access.New([]access.Role{r}, nil, nil); err != nil {
			all = append(all, schemas.Violation{Field: fmt.Sprintf("roles[%d]", i), Message: err.Error()})
		}
	}
	for i, id := range cfg.Identities {
		who, err := credentials(id)
		if err == nil && len(all) == 0 {
			_, err = access.New(roles(cfg), []access.Credentials{who}, nil)
		}
		if err != nil {
			all = append(all, schemas.Violation{Field: fmt.Sprintf("identities[%d]", i), Message: err.Error()})
		}
	}
	if len(all) > 0 {
		return all
	}
	if err := checkRevocation(cfg.Revocation); err != nil {
		all = append(all, schemas.Violation{Field: "revocation", Message: err.Error()})
	}
	if _, err := policy(cfg, nil); err != nil { // conflicts between identities
		all = append(all, schemas.Violation{Field: "identities", Message: err.Error()})
	}
	return all
}

func roles(cfg *accessv1.Access) []access.Role {
	all := make([]access.Role, len(cfg.Roles))
	for i, r := range cfg.Roles {
		all[i] = access.Role{Name: r.Name, Allow: r.Allow, Deny: r.Deny}
	}
	return all
}

func credentials(id *accessv1.Identity) (access.Credentials, error) {
	expires, err := moment(id.Expires)
	return access.Credentials{
		Name: id.Name, Roles: id.Roles, Password: id.Password, Certificates: id.Certificates, Tokens: id.Tokens, Keys: id.Keys,
		ClientIDs: id.ClientIds, Expires: expires, Rate: id.Rate, Burst: id.Burst,
	}, err
}

func moment(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("expires = %q is not a time like 2027-01-01T00:00:00Z", s)
	}
	return t, nil
}

// list returns the identities and their status at a moment.
func (k *keeper) list(now time.Time) *accessv1.ListResponse {
	l := &accessv1.ListResponse{}
	for _, id := range k.cfg.Identities {
		shown := &accessv1.Listed{Name: id.Name, Roles: id.Roles, Status: "in-force"}
		for proof, has := range map[string]bool{
			"password": id.Password != "", "certificate": len(id.Certificates) > 0, "token": len(id.Tokens) > 0, "key": len(id.Keys) > 0,
		} {
			if has {
				shown.Proofs = append(shown.Proofs, proof)
			}
		}
		slices.Sort(shown.Proofs)
		switch end, err := moment(id.Expires); {
		case slices.Contains(k.revoked, id.Name):
			shown.Status = "revoked"
		case err == nil && !end.IsZero() && !now.Before(end):
			shown.Status = "expired"
		}
		l.Identities = append(l.Identities, shown)
	}
	return l
}
