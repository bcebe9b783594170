package uplinktr50_test

import (
	"strings"
	"testing"

	"gatewayd/actors/actorstest/uplinktest"
	"gatewayd/actors/uplinktr50"
	"gatewayd/protocols/mqttclient/mosquitto"
	"gatewayd/protocols/tr50/tr50test"
	tlsv1 "gatewayd/schemas/tls/v1"
)

func TestFaults(t *testing.T) {
	uplinktest.Faults(t, uplinktr50.Kind, func(t *testing.T) uplinktest.Far {
		address := mosquitto.Run(t)
		s := server(t, "tcp://"+address)
		s.Refuse(func(p tr50test.Published) string {
			if text, _ := p.Params["value"].(string); strings.HasPrefix(text, uplinktest.Poison) {
				return "too long"
			}
			return ""
		})
		return uplinktest.Far{
			Address: address,
			Config: func(address string, files *tlsv1.Client) uplinktest.Config {
				if files == nil {
					return config("tcp://" + address)
				}
				cfg := config("ssl://" + address)
				cfg.Tls = files
				return cfg
			},
			Got: func() (all []uplinktest.Item) {
				for _, p := range s.Got() {
					key, _ := p.Params["key"].(string)
					track, _, _ := strings.Cut(key, ".")
					all = append(all, uplinktest.Item{Track: track, Value: p.Params["value"]})
				}
				return all
			},
		}
	})
}
