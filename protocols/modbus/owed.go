package modbus

import (
	"slices"
	"time"
)

// owed holds the answers that did not arrive in time and may still do so.
type owed struct {
	transactions []uint16 // TCP
	answers      []late   // serial lines
}

type late struct {
	want  want
	until time.Time // after that it is no longer expected
}

// forgo remembers a transaction that is no longer waited for. If there are too many, the oldest is
// forgotten.
func (o *owed) forgo(id uint16) {
	if len(o.transactions) == maxOwedTCP {
		o.transactions = slices.Delete(o.transactions, 0, 1)
	}
	o.transactions = append(o.transactions, id)
}

// settle removes a transaction whose answer has arrived. It returns false if the transaction is not
// outstanding.
func (o *owed) settle(id uint16) bool {
	i := slices.Index(o.transactions, id)
	if i >= 0 {
		o.transactions = slices.Delete(o.transactions, i, i+1)
	}
	return i >= 0
}

func (o *owed) add(w want, until time.Time) { o.answers = append(o.answers, late{w, until}) }

// wait returns how long an answer to w could still be confused with an outstanding one. Frames of
// other units and functions can be told apart.
func (o *owed) wait(w want, now time.Time) time.Duration {
	o.answers = slices.DeleteFunc(o.answers, func(a late) bool { return !now.Before(a.until) })
	most := time.Duration(0)
	for _, a := range o.answers {
		if a.want.unit == w.unit && a.want.function == w.function {
			most = max(most, a.until.Sub(now))
		}
	}
	return most
}

// came reports whether body (from the unit to the end of the PDU) may be an outstanding answer. The
// answer stays outstanding: the frame may have been sent by another device in the unit's name, and
// the unit's own answer would then still come.
func (o *owed) came(body []byte) bool {
	return slices.ContainsFunc(o.answers, func(a late) bool { return a.want.accepts(body) })
}
