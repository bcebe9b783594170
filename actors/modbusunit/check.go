package modbusunit

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// check returns the violations that no rule of a single field can express. It checks points
// together only if each by itself is valid.
func check(config proto.Message) []schemas.Violation {
	cfg := config.(*modbusv1.Unit)
	_, err := limitsOf(cfg)
	found := schemas.Wrong("", err)
	for i, p := range cfg.Points {
		_, err := pointOf(p)
		if err == nil {
			err = checkBit(p)
		}
		found = append(found, schemas.Wrong(fmt.Sprintf("points[%d]", i), err)...)
	}
	if len(found) > 0 {
		return found
	}
	recipes, err := recipesOf(cfg)
	if err != nil {
		return []schemas.Violation{blame(cfg, err)}
	}
	for _, r := range recipes {
		_, err := newTable(r.recipe)
		for _, one := range each(err) {
			found = append(found, blame(cfg, one))
		}
	}
	return found
}

// each returns the errors that err was joined from.
func each(err error) []error {
	if err == nil {
		return nil
	}
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) {
		return many.Unwrap()
	}
	return []error{err}
}

// checkBit refuses a type that only registers can have. A coil or discrete input is always a bool.
func checkBit(p *modbusv1.Point) error {
	if bits := p.Area == "coil" || p.Area == "discrete-input"; bits && p.Type != "" && p.Type != "bool" {
		return fmt.Errorf("point %q: area %s holds single bits and cannot be %s: leave type out, or use area holding or input", p.Name, p.Area, p.Type)
	}
	return nil
}

// blame finds the field that an error is about.
func blame(cfg *modbusv1.Unit, err error) schemas.Violation {
	v := schemas.Violation{Message: err.Error()}
	var f *fault
	switch {
	case errors.As(err, &f) && f.derived:
		v.Field = fmt.Sprintf("derived[%d].expression", slices.IndexFunc(cfg.Derived, func(d *modbusv1.Derived) bool { return d.Name == f.point }))
	case errors.As(err, &f):
		v.Field = fmt.Sprintf("points[%d]", slices.IndexFunc(cfg.Points, func(p *modbusv1.Point) bool { return p.Name == f.point }))
	}
	return v
}
