package tr50

import (
	"context"
	"fmt"
	"slices"

	"gatewayd/protocols/record"
	"gatewayd/protocols/uplink"
)

// Send implements uplink.Sender. The server stops at the first item of a batch command that it
// refuses, so the items are published again one by one; those that it had accepted have the same
// key and time.
func (x *sender) Send(ctx context.Context, batch []record.Record) error {
	var items []item
	for i, r := range batch {
		items = append(items, x.s.cfg.Form.items(r, i)...)
	}
	refused := map[int]string{}
	again, err := x.publish(ctx, batches(items), refused)
	if err == nil && len(again) > 0 {
		_, err = x.publish(ctx, singles(again), refused)
	}
	switch {
	case err != nil:
		return err
	case len(refused) == 0:
		return nil
	case !x.proven:
		for _, why := range refused { // one of the reasons represents all
			return fmt.Errorf("the server rejects all records: %s", why)
		}
	}
	all := &uplink.RejectedError{Taken: true}
	for i, why := range refused {
		all.Records = append(all.Records, uplink.Refusal{Index: i, Why: why})
	}
	slices.SortFunc(all.Records, func(a, b uplink.Refusal) int { return a.Index - b.Index })
	return all
}

// publish sends commands. It returns the items of batch commands that failed, and notes the records
// of single commands that failed.
func (x *sender) publish(ctx context.Context, commands []command, refused map[int]string) (again []item, err error) {
	for some := range slices.Chunk(commands, maxOfEnvelope) {
		replies, err := x.exchange(ctx, some)
		if err != nil {
			return nil, err
		}
		for i, r := range replies {
			why := r.failure()
			switch {
			case why == "":
				x.proven = true
			case len(some[i].items) > 1:
				again = append(again, some[i].items...)
			default:
				one := some[i].items[0]
				if key, ok := one.params["key"]; ok {
					why = fmt.Sprintf("%v: %s", key, why)
				}
				refused[one.record] = why
			}
		}
	}
	return again, nil
}
