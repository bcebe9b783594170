package access

// Wish is the message by which a listener's actor asks the actor that keeps the policy for another one than it has. The answer, a *Policy, comes as
// soon as there is one.
type Wish struct {
	Have *Policy // nil: none
}
