package bus

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
)

// The answer to a reset that tells of messages which were delivered behind it, to nobody, does not reach the hub: it would skip them.
func TestAResetIsDoneAgainUntilNothingIsDelivered(t *testing.T) {
	answer := func(seq, delivered int) *nats.Msg {
		return &nats.Msg{Data: fmt.Appendf(nil, `{"reset_seq":%d,"delivered":{"consumer_seq":0,"stream_seq":%d}}`, seq, delivered)}
	}
	for name, x := range map[string]struct {
		answers []*nats.Msg // the last one again and again
		asked   int
		fails   bool
	}{
		"nothing was delivered":         {[]*nats.Msg{answer(2, 1)}, 1, false},
		"the first of all":              {[]*nats.Msg{answer(1, 0)}, 1, false},
		"six were, and then none":       {[]*nats.Msg{answer(2, 7), answer(2, 2), answer(2, 1)}, 3, false},
		"always some":                   {[]*nats.Msg{answer(2, 7)}, resetTries, true},
		"the server refuses":            {[]*nats.Msg{{Data: []byte(`{"error":{"code":400,"err_code":10204}}`)}}, 1, false},
		"something that nobody expects": {[]*nats.Msg{{Data: []byte(`x`)}}, 1, false},
		"no answer":                     {nil, 1, true},
	} {
		asked := 0
		m, err := settledReset(func() (*nats.Msg, error) {
			asked++
			if len(x.answers) == 0 {
				return nil, errors.New("no answer")
			}
			return x.answers[min(asked, len(x.answers))-1], nil
		})
		if asked != x.asked || (err != nil) != x.fails || err == nil && m != x.answers[asked-1] {
			t.Errorf("%s: asked %d times, %v, %v", name, asked, m, err)
		}
	}
}
