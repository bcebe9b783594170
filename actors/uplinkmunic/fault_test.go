package uplinkmunic_test

import (
	"testing"

	"gatewayd/actors/actorstest/uplinktest"
	"gatewayd/actors/uplinkmunic"
	"gatewayd/protocols/mqttclient/mosquitto"
	tlsv1 "gatewayd/schemas/tls/v1"
)

func TestFaults(t *testing.T) {
	uplinktest.Faults(t, uplinkmunic.Kind, func(t *testing.T) uplinktest.Far {
		address := mosquitto.Run(t)
		p := newPlatform(t, "tcp://"+address, 0)
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
			Got: p.values,
		}
	})
}
