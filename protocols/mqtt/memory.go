package mqtt

import "github.com/mochi-mqtt/server/v2/packets"

// DropCases lets go of the test cases that the MQTT library keeps in every program,
// some 400 kB. It is for the start of a program, before any broker.
func DropCases() { packets.TPacketData = nil }
