package access

// PolicyRequest is the message by which a listener's actor requests a policy other than Have from
// the actor that keeps it. The answer, a *Policy, comes as soon as there is one.
type PolicyRequest struct {
	Have *Policy // nil: none
}
