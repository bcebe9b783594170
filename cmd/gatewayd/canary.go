package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	configv1 "gatewayd/schemas/config/v1"
)

type message = proto.Message

// abreast is how many gateways are talked to at a time.
const abreast = 32

// each does something with all gateways, some at a time.
func each(who []*receiver, do func(*receiver)) {
	var all sync.WaitGroup
	room := make(chan struct{}, abreast)
	for _, t := range who {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			do(t)
		})
	}
	all.Wait()
}

// unwell are the states of actors that are not what they should be; givenUp those that do not mend by themselves.
func unwell(state string) bool  { return state != actors.OK }
func givenUp(state string) bool { return state == actors.Bad || state == actors.Quarantined }

// put gives a wave the config, and watches what comes of it. Its error is why the push cannot go on.
func (p *push) put(ctx context.Context, wave int, who []*receiver) error {
	each(who, func(t *receiver) {
		t.wave = wave
		if ctx.Err() == nil {
			p.give(ctx, t)
		}
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	changed := slices.DeleteFunc(slices.Clone(who), func(t *receiver) bool { return !t.replaced })
	if len(changed) > 0 && harm(who) == nil {
		p.say("watching %s for %s", counted(len(changed), "gateway"), p.hold)
		if err := p.watch(ctx, changed); err != nil {
			return err
		}
	}
	return harm(who)
}

// give gives a gateway the config.
func (p *push) give(ctx context.Context, t *receiver) {
	t.result = "failed"
	now := &configv1.GetResponse{}
	if err := t.config(ctx, "Get", &configv1.GetRequest{}, now); err != nil {
		t.harm(err.Error())
		return
	}
	if t.former = now.Toml; now.Toml == p.config(t) {
		t.result, t.why, t.has, t.version = "has it", "it had it before", true, now.Version
		return
	}
	var err error
	if t.before, err = t.ills(ctx, unwell); err != nil {
		t.harm(err.Error())
		return
	}
	resp := &configv1.ApplyResponse{}
	patient := *t
	patient.timeout = max(t.timeout, applyTime)
	err = patient.config(ctx, "Apply", &configv1.ApplyRequest{Toml: p.config(t)}, resp)
	switch {
	case err != nil:
		t.harm(err.Error()) // it may have it all the same
		t.replaced = true
	case len(resp.Problems) > 0:
		t.harm(problemText(resp.Problems))
	default:
		t.result, t.why, t.has, t.replaced, t.version = "has it", resp.Unkept, true, true, resp.Version
	}
}

// applyTime is how long a gateway may take to stop and start what a config changes.
const applyTime = 2 * time.Minute

// harm notes that a gateway is worse than before.
func (t *receiver) harm(why string) { t.result, t.why, t.harmed = "failed", why, true }

// harm is why a push cannot go on; nil: it can.
func harm(who []*receiver) error {
	for _, t := range who {
		if t.harmed {
			return fmt.Errorf("%s: %s", t.id, t.why)
		}
	}
	return nil
}

// ills are the actors of a gateway in such states, and why.
func (t *receiver) ills(ctx context.Context, such func(state string) bool) (map[string]string, error) {
	one := *t.client
	one.gateway = t.id
	all, _, err := one.states(ctx)
	if err != nil {
		return nil, t.explain(err)
	}
	ills := map[string]string{}
	for _, s := range all {
		if such(s.health.State) {
			ills[s.path] = strings.TrimSuffix(s.health.State+": "+s.health.Cause, ": ")
		}
	}
	return ills, nil
}

// watch looks at gateways until they have been watched long enough, or one has gone back. What is wrong at the end counts: actors need time.
func (p *push) watch(ctx context.Context, who []*receiver) error {
	look := time.NewTicker(max(p.hold/20, 500*time.Millisecond))
	defer look.Stop()
	for end := time.After(p.hold); ; {
		over := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end:
			over = true
		case <-look.C:
		}
		each(who, func(t *receiver) { p.look(ctx, t, over) })
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := harm(who); err != nil || over {
			return nil
		}
	}
}

// look sees whether a gateway still has the config and, when its time is over, is no worse than before.
func (p *push) look(ctx context.Context, t *receiver, over bool) {
	now := &configv1.GetResponse{}
	err := t.config(ctx, "Get", &configv1.GetRequest{}, now)
	switch {
	case err != nil && over:
		t.harm("after the change: " + err.Error())
		return
	case err != nil:
		return
	case now.Toml != p.config(t):
		t.has, t.replaced = false, false
		t.harm("it took the config back by itself: gatewayd fleet events " + t.id + " config")
		return
	case !over:
		return
	}
	ills, err := t.ills(ctx, p.worst)
	if err != nil {
		t.harm("after the change: " + err.Error())
		return
	}
	for _, path := range slices.SortedFunc(maps.Keys(ills), func(a, b string) int { return comparePaths(b, a) }) { // the root at last
		if _, was := t.before[path]; !was {
			t.harm(path + " is " + ills[path])
			return
		}
	}
}

// back gives back what gateways had before; left is how many did not take it.
func (p *push) back(ctx context.Context) (left int) {
	var mu sync.Mutex
	each(p.targets, func(t *receiver) {
		if !t.replaced {
			return
		}
		resp := &configv1.ApplyResponse{}
		patient := *t
		patient.timeout = max(t.timeout, applyTime)
		err := patient.config(ctx, "Apply", &configv1.ApplyRequest{Toml: t.former}, resp)
		if err == nil && len(resp.Problems) > 0 {
			err = fmt.Errorf("%s", problemText(resp.Problems))
		}
		if err != nil {
			mu.Lock()
			left++
			mu.Unlock()
			t.result, t.why = "stuck", "may still have the new config: "+err.Error()
			return
		}
		t.has, t.result, t.version = false, "taken back", resp.Version
	})
	return left
}

// report tells what became of each gateway.
func (p *push) report(w io.Writer) error {
	if p.c.asJSON {
		type row struct {
			Gateway string `json:"gateway"`
			Wave    int    `json:"wave,omitempty"`
			Result  string `json:"result"`
			Version uint64 `json:"version,omitempty"`
			Why     string `json:"why,omitempty"`
		}
		rows := []row{}
		for _, t := range p.targets {
			rows = append(rows, row{t.id, t.wave, t.result, t.version, t.why})
		}
		return json.NewEncoder(w).Encode(rows)
	}
	rows := [][]cell{plain("GATEWAY", "WAVE", "RESULT", "VERSION", "WHY")}
	for _, t := range p.targets {
		row := plain(t.id, "–", t.result, "–", t.why)
		if t.wave > 0 {
			row[1].text = fmt.Sprint(t.wave)
		}
		if t.version > 0 {
			row[3].text = fmt.Sprint(t.version)
		}
		row[2].colour = map[string]string{"has it": green, "fits": green, "failed": red, "stuck": red, "refused": red, "taken back": yellow, "away": yellow}[t.result]
		rows = append(rows, row)
	}
	if len(rows) == 1 {
		return nil
	}
	return table(w, painter(w), rows)
}
