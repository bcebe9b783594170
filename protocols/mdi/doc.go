// Package mdi is a compact binary uplink protocol for slow and metered links: its messages
// (gatewayd-mdi.asn1, unaligned PER), the session that sends each record until it is acknowledged
// and never afterwards, and the receiver. It is similar to Munic's MDI21 and compatible with
// nothing else. DESIGN.md describes the course of a session.
package mdi
