package modbusunit

import (
	"google.golang.org/protobuf/proto"

	"gatewayd/protocols/modbus/profiles"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// complete loads the profile that a config names and adds it to the config.
func complete(config proto.Message, load schemas.Load) []schemas.Violation {
	cfg := config.(*modbusv1.Unit)
	m, bad := load.Profile("profiles", cfg.Profile, profiles.Files, profiles.Names, &modbusv1.Profile{}, checkProfile)
	if m != nil {
		apply(cfg, m.(*modbusv1.Profile))
	}
	return bad
}

// apply adds to the config what it does not override, and lowers its limits to those of the
// profile.
func apply(cfg *modbusv1.Unit, p *modbusv1.Profile) {
	cfg.Groups = schemas.Under(cfg.Groups, p.Groups)
	cfg.Points = schemas.Under(cfg.Points, p.Points)
	cfg.Derived = schemas.Under(cfg.Derived, p.Derived)
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
	if p.RestAfterWrite.AsDuration() > cfg.RestAfterWrite.AsDuration() {
		cfg.RestAfterWrite = p.RestAfterWrite
	}
}

// preset returns the point with the profile's byte order if it has none of its own.
func preset(q *modbusv1.Point, p *modbusv1.Profile) *modbusv1.Point {
	bits := q.Area == "coil" || q.Area == "discrete-input"
	if p.Order == "" || q.Order != "" || bits {
		return q
	}
	q = proto.CloneOf(q)
	q.Order = p.Order
	return q
}

// checkProfile returns the violations of a profile and completes its points.
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
