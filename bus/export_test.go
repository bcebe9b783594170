package bus

// Writing is the ledger being written to a disk that is stuck, until release is called.
func (b *Bus) Writing() (release func()) {
	b.noting.Lock()
	return b.noting.Unlock
}
