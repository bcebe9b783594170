package modbus

import (
	"slices"
	"time"
)

// owed is the answers that were not given in time and may still come.
type owed struct {
	transactions []uint16 // TCP
	answers      []late   // lines
}

type late struct {
	want  want
	until time.Time // no longer feared then
}

// forgo remembers a transaction that is no longer waited for; the oldest of many is forgotten.
func (o *owed) forgo(id uint16) {
	if len(o.transactions) == maxOwedTCP {
		o.transactions = slices.Delete(o.transactions, 0, 1)
	}
	o.transactions = append(o.transactions, id)
}

// settle strikes a transaction whose answer has come; false: it is none.
func (o *owed) settle(id uint16) bool {
	i := slices.Index(o.transactions, id)
	if i >= 0 {
		o.transactions = slices.Delete(o.transactions, i, i+1)
	}
	return i >= 0
}

func (o *owed) add(w want, until time.Time) { o.answers = append(o.answers, late{w, until}) }

// wait is how long an answer to w may be confused with one that is owed; frames of other units and functions are told apart.
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

// came says whether body (from the unit to the end of the PDU) can be an answer that is owed. It stays owed: nobody can tell the unit's own word from
// a frame that somebody else sends in its name, and after that the answer would still come.
func (o *owed) came(body []byte) bool {
	return slices.ContainsFunc(o.answers, func(a late) bool { return a.want.accepts(body) })
}
