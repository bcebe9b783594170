package modbus

// Sizes returns the size in bytes of the request's PDU and of the PDU of its normal answer. For an
// answer of variable size it is the minimum.
func (r Request) Sizes() (request, answer int) {
	answer = wantOf(r).size
	switch r.form() {
	case formRaw, formSub, formIdentity:
		return 1 + len(r.Data), answer
	case formBare:
		return 1, answer
	case formFiles:
		return 2 + len(r.Data), answer
	case formFIFO:
		return 3, answer
	case formSingle:
		return 3 + len(r.Data), answer
	case formReadWrite:
		return 10 + len(r.Data), answer
	case formMany:
		return 6 + len(r.Data), answer
	}
	return 5, answer
}
