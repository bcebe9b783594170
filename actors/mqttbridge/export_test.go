package mqttbridge

// Appetite is how many batches are read at once.
var Appetite = appetite
