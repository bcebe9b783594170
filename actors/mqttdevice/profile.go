package mqttdevice

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"gatewayd/protocols/sensor/profiles"
	"gatewayd/schemas"
	mqttv1 "gatewayd/schemas/mqtt/v1"
)

// complete puts the profile that a config names under what the config says itself.
func complete(config proto.Message, load schemas.Load) []schemas.Violation {
	cfg := config.(*mqttv1.Device)
	if cfg.Profile == "" || strings.Trim(cfg.Profile, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return nil
	}
	m, err := load("profiles/mqtt/"+cfg.Profile+".toml", profiles.Files, &mqttv1.DeviceProfile{}, checkProfile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		hint := schemas.DidYouMean(cfg.Profile, profiles.Names())
		return profileError("there is no profiles/mqtt/%s.toml beside the config file, and none is built in%s", cfg.Profile, hint)
	case err != nil:
		return profileError("%v", err)
	}
	apply(cfg, m.(*mqttv1.DeviceProfile))
	return nil
}

func profileError(format string, args ...any) []schemas.Violation {
	return []schemas.Violation{{Field: "profile", Message: fmt.Sprintf(format, args...)}}
}

// apply adds to the config what it does not say otherwise.
func apply(cfg *mqttv1.Device, p *mqttv1.DeviceProfile) {
	cfg.Points = under(cfg.Points, p.Points)
	cfg.Commands = under(cfg.Commands, p.Commands)
	cfg.Topic, cfg.Time = cmp.Or(cfg.Topic, p.Topic), cmp.Or(cfg.Time, p.Time)
	if cfg.Silence == nil {
		cfg.Silence = p.Silence
	}
	if len(cfg.Availability) == 0 {
		cfg.Availability = p.Availability
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

// checkProfile finds what is wrong with a profile.
func checkProfile(m proto.Message) []schemas.Violation {
	cfg := &mqttv1.Device{Device: "device"}
	schemas.Defaults(cfg)
	apply(cfg, m.(*mqttv1.DeviceProfile))
	_, bad := specOf(cfg)
	return bad
}
