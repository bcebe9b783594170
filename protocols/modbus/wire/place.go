package wire

// Locate is the message by which a unit is asked where it is; the answer is a Place.
type Locate struct{ Unit string }

// Place is where a unit is: also told to its firewall whenever it has changed.
type Place struct {
	Unit    string // path of its actor
	Link    string // path of its line or link
	Address uint8  // there
}
