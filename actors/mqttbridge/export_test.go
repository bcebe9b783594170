package mqttbridge

// Appetite is appetite, for tests.
var Appetite = appetite
