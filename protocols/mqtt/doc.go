// Package mqtt is an embedded MQTT 3.1.1 and 5 broker that withstands misbehaving clients.
//
// It runs mochi-mqtt behind its own listener, connection and single hook. Together they limit what
// a client may use (sockets, time, bytes, sessions), decide who may publish and subscribe to what,
// and confine a panic, a stall or a flood to the client that caused it. The package knows nothing
// of actors or of the bus: its goroutines reach other code only through the callbacks of Config.
//
// DESIGN.md in this folder says which defects of the library are worked around here, how, and which
// remain.
package mqtt
