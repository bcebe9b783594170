// Package auditlog is the actor kind that records who did what, through any listener, in a
// tamper-evident log. Package protocols/audit writes it.
package auditlog

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"gatewayd/actors"
	"gatewayd/protocols/access"
	"gatewayd/protocols/audit"
	"gatewayd/schemas"
	auditv1 "gatewayd/schemas/audit/v1"
)

// Kind is the actor kind audit-log.
var Kind = actors.Define(actors.Kind{
	Name:      "audit-log",
	Doc:       "Records who did what, through any listener, in a tamper-evident log.",
	Publishes: []actors.Leaf{{Class: "state", Leaf: "head", Message: &auditv1.Head{}}},
	Limit:     4096,
	Check:     check,
}, func(cfg *auditv1.Log) actors.Actor { return &keeper{cfg: cfg} })

const (
	writeTime = 30 * time.Second
	headEvery = 10 * time.Second // between publications of the head
	maxWaits  = 4096             // records waiting at most
)

// told are the leaves of the events that are recorded: they say who did what, or that a client was
// refused or cut off.
var told = [...]string{"audited", "claimed", "revoked", "restored", "cut", "refused", "insecure", "lists", "applied", "rolled-back", "commanded"}

type keeper struct {
	cfg     *auditv1.Log
	log     *audit.Log // nil until it is open
	waits   []audit.Record
	writing bool
	lost    uint64 // records for which there was no room
	shed    uint64 // messages shed, as far as reported
	said    uint64 // record number of the last published head
}

type (
	opened struct {
		log *audit.Log
		err error
	}
	written struct {
		records []audit.Record // records that were not written
		err     error
	}
	sayHead struct{}
)

func check(config proto.Message) (all []schemas.Violation) {
	for i, p := range config.(*auditv1.Log).Skip {
		if err := access.CheckPattern(p); err != nil {
			all = append(all, schemas.Violation{Field: fmt.Sprintf("skip[%d]", i), Message: err.Error()})
		}
	}
	return all
}

func (k *keeper) Receive(c *actors.Context, msg any) error {
	switch m := msg.(type) {
	case actors.Started:
		return k.start(c)
	case opened:
		if m.log == nil {
			return fmt.Errorf("audit log: %w", m.err)
		}
		k.log, k.writing = m.log, false
		c.Own(m.log)
		k.judge(c, m.err)
		k.write(c)
	case actors.Outcome:
		k.take(c, ofCall(m))
	case actors.Delivery:
		k.hear(c, m)
	case written:
		k.writing = false
		k.waits = append(m.records, k.waits...)
		k.judge(c, m.err)
		if m.err == nil {
			k.write(c)
		}
	case actors.Stopped:
		k.end(c)
	case sayHead:
		k.write(c) // also retries what failed
		k.say(c)
	case actors.Failed:
		return fmt.Errorf("audit log: %w", m.Err)
	}
	return nil
}

func (k *keeper) start(c *actors.Context) error {
	dir := c.Dir()
	if dir == "" {
		return actors.Broken(fmt.Errorf("the audit log needs a data directory"))
	}
	k.shed = c.Shed()
	post := c.Post()
	c.Outcomes(func(o actors.Outcome) {
		if who := o.Caller.Identity; who == "local" || strings.HasPrefix(who, "actor/") || o.OwnEvent {
			return // an action of the gateway itself, or one that is recorded by its event
		}
		_ = post(o) // a shed message is counted
	})
	if err := c.Subscribe("event/#"); err != nil {
		return err
	}
	c.Every(headEvery, sayHead{})
	files, size := int(k.cfg.Files), int64(k.cfg.FileSize)
	k.writing = true
	c.Do(writeTime, func(context.Context) (any, error) {
		l, err := audit.Open(dir, files, size, time.Now())
		return opened{l, err}, nil
	})
	return nil
}

func ofCall(o actors.Outcome) audit.Record {
	r := audit.Record{
		Time: o.Began, What: "cmd/" + o.Path + "/" + o.Method, Caller: o.Caller.Identity, Trace: o.Caller.Trace, Took: o.Took.Seconds(),
	}
	if o.Err != nil {
		r.Code, r.Cause = actors.Explain(o.Err)
	}
	return r
}

// hear handles an event. If its content names caller, trace and cause, they become fields of the
// record.
func (k *keeper) hear(c *actors.Context, m actors.Delivery) {
	leaf := m.Topic[strings.LastIndexByte(m.Topic, '/')+1:]
	if !slices.Contains(told[:], leaf) {
		return
	}
	r := audit.Record{Time: time.Now(), What: m.Topic}
	var says struct {
		Caller, Trace, Cause, Error string
		Asked                       bool
	}
	if json.Unmarshal(m.Payload, &says) == nil {
		if says.Asked {
			return // there is a record of the call
		}
		r.Caller, r.Trace, r.Cause, r.Detail = says.Caller, says.Trace, cmp.Or(says.Cause, says.Error), m.Payload
	}
	k.take(c, r)
}

func (k *keeper) take(c *actors.Context, r audit.Record) {
	for _, p := range k.cfg.Skip {
		if access.Covers(p, r.What) {
			return
		}
	}
	if len(k.waits) >= maxWaits {
		k.lost++
		return
	}
	k.waits = append(k.waits, r)
	k.write(c)
}

// write starts writing the waiting records, including one about lost records.
func (k *keeper) write(c *actors.Context) {
	if n := k.lost + c.Shed() - k.shed; n > 0 {
		k.lost, k.shed = 0, c.Shed()
		k.waits = append(k.waits, audit.Record{Time: time.Now(), What: audit.Lost, Detail: fmt.Appendf(nil, `{"records":%d}`, n)})
	}
	if k.writing || k.log == nil || len(k.waits) == 0 {
		return
	}
	k.writing = true
	log, records := k.log, k.waits
	k.waits = nil
	c.Do(writeTime, func(context.Context) (any, error) {
		n, err := log.Append(records...)
		return written{records[n:], err}, nil
	})
}

// end writes the records still waiting, after those being written.
func (k *keeper) end(c *actors.Context) {
	if k.log == nil || len(k.waits) == 0 {
		return
	}
	if n, err := k.log.Append(k.waits...); err != nil {
		c.Log().Error("audit records were lost", "records", len(k.waits)-n, "err", err)
	}
}

func (k *keeper) judge(c *actors.Context, err error) {
	if err != nil {
		c.Degraded("the audit log is full or cannot be written: " + err.Error())
		return
	}
	c.OK()
}

func (k *keeper) say(c *actors.Context) {
	if k.writing || k.log == nil {
		return
	}
	if n, hash := k.log.Head(); n != k.said {
		k.said = n
		c.State("head", &auditv1.Head{Time: timestamppb.Now(), Number: n, Hash: hash})
	}
}
