package uplinkmdi_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"gatewayd/actors/actorstest/uplinktest"
	"gatewayd/actors/uplinkmdi"
	"gatewayd/protocols/record"
	tlsv1 "gatewayd/schemas/tls/v1"
)

func TestFaults(t *testing.T) {
	uplinktest.Faults(t, uplinkmdi.Kind, func(t *testing.T) uplinktest.Far {
		var mu sync.Mutex
		var all []uplinktest.Item
		c := newCloud(t)
		c.refuse = func(r record.Record) bool {
			mu.Lock()
			defer mu.Unlock()
			for _, f := range r.Fields {
				if text, _ := f.Value.(string); strings.HasPrefix(text, uplinktest.Poison) {
					return true
				}
			}
			for _, f := range r.Fields {
				all = append(all, uplinktest.Item{Track: r.Track, Value: f.Value})
			}
			return false
		}
		return uplinktest.Far{
			Address: c.address,
			Once:    true, // the receiver resumes the session
			Config: func(address string, files *tlsv1.Client) uplinktest.Config {
				cfg := c.config()
				if cfg.Url = "tcp://" + address; files != nil {
					cfg.Url, cfg.Tls = "tls://"+address, files
				}
				return cfg
			},
			Got: func() []uplinktest.Item { mu.Lock(); defer mu.Unlock(); return slices.Clone(all) },
		}
	})
}
