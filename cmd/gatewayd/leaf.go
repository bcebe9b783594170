package main

import (
	"fmt"

	"gatewayd/bus"
	"gatewayd/protocols/tlsfiles"
	gatewayv1 "gatewayd/schemas/gateway/v1"
)

// leafOf is the hub of a config; nil if there is none.
func leafOf(c *gatewayv1.Bus) (*bus.Leaf, error) {
	out, l := leafWithout(c), c.GetLeaf()
	if out == nil || l.Tls == nil {
		return out, nil
	}
	var err error
	if out.TLS, err = tlsfiles.ClientOf(l.Tls).Config(""); err != nil {
		return nil, fmt.Errorf("leaf: %w", err)
	}
	return out, nil
}

// leafWithout is leafOf without certificates.
func leafWithout(c *gatewayv1.Bus) *bus.Leaf {
	l := c.GetLeaf()
	if l == nil {
		return nil
	}
	out := &bus.Leaf{URLs: l.Urls, Key: l.NkeyFile, Credentials: l.CredsFile, Calls: l.Calls, Tracks: l.Tracks, Reconnect: l.Reconnect.AsDuration()}
	for _, class := range l.Hears {
		out.Hears = append(out.Hears, bus.Class(class))
	}
	return out
}
