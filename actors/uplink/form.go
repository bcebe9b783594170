package uplink

import (
	"errors"

	"gatewayd/protocols/shape"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

// Form returns the message form that a config names. also maps further names to names of built-in
// forms.
func Form(name string, custom *uplinkv1.Shape, also map[string]string) (shape.Form, error) {
	if name != "custom" {
		if custom != nil {
			return shape.Form{}, errors.New(`custom needs shape = "custom"`)
		}
		if other, ok := also[name]; ok {
			name = other
		}
		return shape.Named(name)
	}
	if custom == nil {
		return shape.Form{}, errors.New(`shape = "custom" needs the table custom`)
	}
	return shape.Form{
		ContentType: custom.ContentType, Begin: custom.Begin, Between: custom.Between, End: custom.End, Record: custom.Record, Field: custom.Field,
		BetweenFields: custom.BetweenFields,
	}, nil
}
