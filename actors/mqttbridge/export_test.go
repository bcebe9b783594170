package mqttbridge

// BatchesToRead is batchesToRead, for tests.
var BatchesToRead = batchesToRead
