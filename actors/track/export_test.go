package track

// Define makes the kind with a clock of a test's own.
var Define = define
