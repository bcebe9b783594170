// Package mdi is a compact binary uplink for slow and metered links: its messages (gatewayd-mdi.asn1, unaligned PER), the session
// that sends records until they are acknowledged and never again after that, and the receiver it talks to. It is of the class of
// Munic's MDI21 and compatible with nothing but itself. DESIGN.md tells how a session goes.
package mdi
