package mqtt

import "github.com/mochi-mqtt/server/v2/packets"

// DropCases releases the test cases that the MQTT library keeps in every program, about 400 kB.
// Call it at the start of a program, before any broker.
func DropCases() { packets.TPacketData = nil }
