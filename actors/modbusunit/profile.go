package modbusunit

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"gatewayd/protocols/modbus/profiles"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// complete puts the profile that a config names under what the config says itself.
func complete(config proto.Message, load schemas.Load) []schemas.Violation {
	cfg := config.(*modbusv1.Unit)
	if cfg.Profile == "" || strings.Trim(cfg.Profile, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return nil
	}
	m, err := load("profiles/"+cfg.Profile+".toml", profiles.Files, &modbusv1.Profile{}, checkProfile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		hint := schemas.DidYouMean(cfg.Profile, profiles.Names())
		return profileError("there is no profiles/%s.toml beside the config file, and none is built in%s", cfg.Profile, hint)
	case err != nil:
		return profileError("%v", err)
	}
	apply(cfg, m.(*modbusv1.Profile))
	return nil
}

func profileError(format string, args ...any) []schemas.Violation {
	return []schemas.Violation{{Field: "profile", Message: fmt.Sprintf(format, args...)}}
}

// apply appends to the config what it does not say otherwise, and makes it bear no
// more than the device.
func apply(cfg *modbusv1.Unit, p *modbusv1.Profile) {
	cfg.Groups = under(cfg.Groups, p.Groups)
	cfg.Points = under(cfg.Points, p.Points)
	cfg.Derived = under(cfg.Derived, p.Derived)
	cfg.Holes = append(cfg.Holes, p.Holes...)
	cfg.OnePerPoint = cfg.OnePerPoint || p.OnePerPoint
	if p.MaxRegisters > 0 {
		cfg.MaxRegisters = min(cfg.MaxRegisters, p.MaxRegisters)
	}
	if p.MaxBits > 0 {
		cfg.MaxBits = min(cfg.MaxBits, p.MaxBits)
	}
	if p.Gap != nil {
		cfg.Gap = min(cfg.Gap, *p.Gap)
	}
	if p.Rest.AsDuration() > cfg.Rest.AsDuration() {
		cfg.Rest = p.Rest
	}
}

// under is what is said of each name, by the first list or else by the second.
func under[T interface{ GetName() string }](list, below []T) []T {
	all := slices.Clip(list)
	for _, b := range below {
		if !slices.ContainsFunc(list, func(a T) bool { return a.GetName() == b.GetName() }) {
			all = append(all, b)
		}
	}
	return all
}

// preset is a point with the profile's order of bytes, if it has none of its own.
func preset(q *modbusv1.Point, p *modbusv1.Profile) *modbusv1.Point {
	bits := q.Area == "coil" || q.Area == "discrete-input"
	if p.Order == "" || q.Order != "" || bits {
		return q
	}
	q = proto.CloneOf(q)
	q.Order = p.Order
	return q
}

// checkProfile finds what is wrong with a profile, and completes its points.
func checkProfile(m proto.Message) []schemas.Violation {
	p := m.(*modbusv1.Profile)
	for i, q := range p.Points {
		p.Points[i] = preset(q, p)
	}
	cfg := &modbusv1.Unit{}
	schemas.Defaults(cfg)
	apply(cfg, p)
	return check(cfg)
}
