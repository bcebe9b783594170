package track

// Define returns the kind with a test's own clock.
var Define = define
