package modbus

// Sizes are the bytes of the request's PDU and of its normal answer's; of an answer that tells its own size the least it can have.
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
