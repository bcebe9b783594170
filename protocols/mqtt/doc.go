// Package mqtt is an embedded MQTT 3.1.1 and 5 broker that one bad client cannot hurt.
//
// It runs mochi-mqtt behind a listener, a connection and a single hook of ours, which together bound what a client may
// take (sockets, time, bytes, sessions), decide who may say what, and keep a panic, a stall or a flood with the client
// that caused it. It knows nothing of actors or of the bus: everything foreign runs in goroutines of this package, and
// leaves it through the callbacks of Config.
//
// DESIGN.md beside this file says which defects of the library are closed here, how, and which are left.
package mqtt
