package uplinkhttp_test

import (
	"encoding/json"
	"strings"
	"testing"

	"gatewayd/actors/actorstest/uplinktest"
	"gatewayd/actors/uplinkhttp"
	tlsv1 "gatewayd/schemas/tls/v1"
	uplinkv1 "gatewayd/schemas/uplink/v1"
)

func TestFaults(t *testing.T) {
	uplinktest.Faults(t, uplinkhttp.Kind, func(t *testing.T) uplinktest.Far {
		s := serve(t)
		s.answer = func(_ int, body string) int {
			if strings.Contains(body, uplinktest.Poison) {
				return 400
			}
			return 200
		}
		return uplinktest.Far{
			Address: s.Listener.Addr().String(),
			Config: func(address string, files *tlsv1.Client) uplinktest.Config {
				url := "http://" + address
				if files != nil {
					url = "https://" + address
				}
				return &uplinkv1.UplinkHttp{Url: url, Tls: files, Send: sending()}
			},
			Got: func() (all []uplinktest.Item) {
				for _, b := range s.all() {
					var records []struct {
						Track  string
						Fields map[string]any
					}
					if err := json.Unmarshal([]byte(b), &records); err != nil {
						t.Fatalf("%v: %s", err, b)
					}
					for _, r := range records {
						for _, v := range r.Fields {
							all = append(all, uplinktest.Item{Track: r.Track, Value: v})
						}
					}
				}
				return all
			},
		}
	})
}
