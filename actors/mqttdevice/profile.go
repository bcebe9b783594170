package mqttdevice

import (
	"cmp"

	"google.golang.org/protobuf/proto"

	"gatewayd/protocols/sensor/profiles"
	"gatewayd/schemas"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

// complete adds the profile that a config names to what the config itself says.
func complete(config proto.Message, load schemas.Load) []schemas.Violation {
	cfg := config.(*mqttv1.Device)
	m, bad := load.Profile("profiles/mqtt", cfg.Profile, profiles.Files, profiles.Names, &mqttv1.DeviceProfile{}, checkProfile)
	if m != nil {
		apply(cfg, m.(*mqttv1.DeviceProfile))
	}
	return bad
}

// apply adds the parts of the profile that the config does not override.
func apply(cfg *mqttv1.Device, p *mqttv1.DeviceProfile) {
	cfg.Points = schemas.Under(cfg.Points, p.Points)
	cfg.Commands = schemas.Under(cfg.Commands, p.Commands)
	cfg.Topic, cfg.Time = cmp.Or(cfg.Topic, p.Topic), cmp.Or(cfg.Time, p.Time)
	if cfg.Silence == nil {
		cfg.Silence = p.Silence
	}
	if len(cfg.Availability) == 0 {
		cfg.Availability = p.Availability
	}
}

// checkProfile returns what is wrong with a profile.
func checkProfile(m proto.Message) []schemas.Violation {
	cfg := &mqttv1.Device{Device: "device"}
	schemas.Defaults(cfg)
	apply(cfg, m.(*mqttv1.DeviceProfile))
	_, bad := specOf(cfg)
	return bad
}
