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

// came strikes the oldest answer that body (from the unit to the end of the PDU) can be.
func (o *owed) came(body []byte) {
	i := slices.IndexFunc(o.answers, func(a late) bool { return a.want.accepts(body) })
	if i >= 0 {
		o.answers = slices.Delete(o.answers, i, i+1)
	}
}
