package modbus

import (
	"sync"
	"time"

	grid "github.com/grid-x/modbus"
)

// StatePool is a pool of the state that a Link needs only while a transaction is under way: there
// are thousands of Links, of which only a few are active at a time. Any number of Links may share
// one StatePool. The zero value is empty.
type StatePool struct{ spare sync.Pool }

// transactionState is the state of a Link for the transaction that is under way.
type transactionState struct {
	rx      *input
	framing Framing // of client and packer
	client  grid.Client
	packer  grid.Packager
	pdu     []byte // PDU of a request that client has no function for; adu is its frame
	adu     []byte

	link    *Link   // the Link that holds the state
	request Request // the request of the running Do
	want    want
	cut     func()        // interrupts reading and writing and signals touched; created once
	touched chan struct{} // has a buffer of one
	whole   []byte        // TCP: the frame of the answer just received
}

func newTransactionState() *transactionState {
	k := &transactionState{rx: newInput(nil, nil, nil), touched: make(chan struct{}, 1)}
	k.cut = func() {
		past := time.Unix(1, 0)
		_ = k.link.conn.SetReadDeadline(past)
		_ = k.link.conn.SetWriteDeadline(past)
		k.touched <- struct{}{}
	}
	return k
}

// acquireState gives the Link a state if it has none.
func (l *Link) acquireState() {
	if l.transactionState != nil {
		return
	}
	if l.opts.StatePool != nil {
		l.transactionState, _ = l.opts.StatePool.spare.Get().(*transactionState)
	}
	if l.transactionState == nil {
		l.transactionState = newTransactionState()
	}
	l.link = l
	l.rx.conn, l.rx.raw, l.rx.tap = l.conn, l.raw, l.opts.Tap
	if l.client == nil || l.transactionState.framing != l.framing {
		l.transactionState.framing, l.packer = l.framing, packagerOf(l.framing)
		l.client = grid.NewClient2(l.packer, transport{l.transactionState})
	}
}

// releaseState returns the state to the pool, unless it holds received bytes that are not consumed
// yet.
func (l *Link) releaseState() {
	if l.opts.StatePool == nil || l.transactionState == nil || l.rx.n > 0 {
		return
	}
	k := l.transactionState
	l.transactionState = nil
	k.link, k.request, k.want, k.whole = nil, Request{}, want{}, nil
	k.rx.conn, k.rx.raw, k.rx.tap = nil, nil, nil
	l.opts.StatePool.spare.Put(k)
}
