package modbusunit

import (
	"gatewayd/protocols/modbus/points"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// CheckProfile finds what is wrong with a profile, and completes its points: for tools that read one by themselves.
func CheckProfile(p *modbusv1.Profile) []schemas.Violation { return checkProfile(p) }

// ProfilePoints are the points of a profile that passed CheckProfile, without those that are computed, and what reads of them a device bears.
func ProfilePoints(p *modbusv1.Profile) ([]points.Point, points.Limits, error) {
	cfg := &modbusv1.Unit{}
	schemas.Defaults(cfg)
	apply(cfg, p)
	return UnitPoints(cfg)
}

// UnitPoints are the points of a unit's config, without those that are computed, and what reads of them it bears.
func UnitPoints(cfg *modbusv1.Unit) ([]points.Point, points.Limits, error) {
	limits, err := limitsOf(cfg)
	if err != nil {
		return nil, limits, err
	}
	all := make([]points.Point, len(cfg.Points))
	for i, p := range cfg.Points {
		if all[i], err = pointOf(p); err != nil {
			return nil, limits, err
		}
	}
	return all, limits, nil
}
