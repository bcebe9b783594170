package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/cmd/gatewayd/client"
	"gatewayd/cmd/gatewayd/terminal"
	configv1 "gatewayd/schemas/config/v1"
)

type message = proto.Message

// abreast is how many gateways are dealt with at the same time.
const abreast = 32

// each runs do for all gateways, abreast at a time.
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

// unwell reports whether an actor in this state is not ok; givenUp whether it has failed and does
// not recover by itself.
func unwell(state string) bool  { return state != actors.OK }
func givenUp(state string) bool { return state == actors.Bad || state == actors.Quarantined }

// put gives the config to a wave of gateways and watches them. It returns an error if the push
// cannot go on.
func (p *push) put(ctx context.Context, wave int, who []*receiver) error {
	stop := context.AfterFunc(ctx, func() { p.say("interrupted: waiting for gateways that are applying the config") })
	each(who, func(t *receiver) {
		t.wave = wave
		if ctx.Err() == nil {
			p.give(ctx, t)
		}
	})
	stop()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	changed := slices.DeleteFunc(slices.Clone(who), func(t *receiver) bool { return !t.replaced })
	if len(changed) > 0 && harm(who) == nil {
		p.say("watching %s for %s", terminal.Counted(len(changed), "gateway"), p.hold)
		if err := p.watch(ctx, changed); err != nil {
			return err
		}
	}
	for _, t := range who {
		t.watched = true
	}
	return harm(who)
}

// give gives the config to a gateway. Once it has been sent, its outcome is awaited even if the
// push is interrupted.
func (p *push) give(ctx context.Context, t *receiver) {
	now := &configv1.GetResponse{}
	err := t.config(ctx, "Get", &configv1.GetRequest{}, now)
	if err == nil && now.Toml == p.config(t) {
		t.result, t.why, t.has, t.version = "applied", "it already had this config", true, now.Version
		return
	}
	if err == nil {
		t.former, t.formerly = now.Toml, now.Version
		t.before, err = t.ills(ctx, unwell)
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		t.harm(err.Error())
		return
	}
	resp, err := t.apply(p.config(t))
	switch {
	case err != nil:
		t.harm(err.Error()) // the gateway may have taken it nevertheless
		t.replaced = true
	case len(resp.Problems) > 0:
		t.harm(problemText(resp.Problems))
	default:
		t.result, t.why, t.has, t.replaced, t.version = "applied", resp.Unkept, true, true, resp.Version
	}
}

// applyTime is how long a gateway may take to stop and start the actors a config changes.
const applyTime = 2 * time.Minute

// harm notes that a gateway is worse than before.
func (t *receiver) harm(why string) { t.result, t.why, t.harmed = "failed", why, true }

// harm returns why a push cannot go on; nil if it can.
func harm(who []*receiver) error {
	for _, t := range who {
		if t.harmed {
			return fmt.Errorf("%s: %s", t.id, t.why)
		}
	}
	return nil
}

// ills returns the actors of a gateway whose state satisfies such, with state and cause.
func (t *receiver) ills(ctx context.Context, such func(state string) bool) (map[string]string, error) {
	one := *t.Client
	one.Gateway = t.id
	all, _, err := one.States(ctx)
	if err != nil {
		return nil, t.Explain(err)
	}
	ills := map[string]string{}
	for _, s := range all {
		if such(s.Health.State) {
			ills[s.Path] = strings.TrimSuffix(s.Health.State+": "+s.Health.Cause, ": ")
		}
	}
	return ills, nil
}

// watch checks gateways until p.hold is over or one of them is worse than before. Actors count as
// worse only at the end, since they need time to recover.
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

// look checks that a gateway still has the config and, when the time is over, that no actor is
// worse than before.
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
		t.harm("the gateway rolled the config back by itself: gatewayd fleet events " + t.id + " config")
		return
	case !over:
		return
	}
	ills, err := t.ills(ctx, p.worst)
	if err != nil {
		t.harm("after the change: " + err.Error())
		return
	}
	for _, path := range slices.SortedFunc(maps.Keys(ills), func(a, b string) int { return client.ComparePaths(b, a) }) { // the root last
		if _, was := t.before[path]; !was {
			t.harm(path + " is " + ills[path])
			return
		}
	}
}

// back gives gateways their former config. It keeps trying those that are away for p.wait, unless
// it is interrupted, and returns how many have not taken it.
func (p *push) back(ctx context.Context) (left int) {
	who := slices.DeleteFunc(slices.Clone(p.targets), func(t *receiver) bool { return !t.replaced })
	again := time.NewTicker(backEvery)
	defer again.Stop()
	said := false
	for end := time.After(p.wait); ; {
		each(who, func(t *receiver) { p.restore(t) })
		who = slices.DeleteFunc(who, func(t *receiver) bool { return t.result == "rolled back" })
		if len(who) == 0 {
			return 0
		}
		if !said {
			said = true
			p.say("waiting %s for %s that cannot be reached", p.wait, terminal.Counted(len(who), "gateway"))
		}
		select {
		case <-again.C:
		case <-end:
			return len(who)
		case <-ctx.Done():
			return len(who)
		}
	}
}

const backEvery = time.Second

// restore gives a gateway its former config.
func (p *push) restore(t *receiver) {
	resp, err := t.apply(t.former)
	if err == nil && len(resp.Problems) > 0 {
		err = fmt.Errorf("%s", problemText(resp.Problems))
	}
	if err != nil {
		t.result = "not rolled back"
		t.why = fmt.Sprintf("may still have the new config: %v; when it is connected again: gatewayd fleet call %s config Rollback '{\"version\":%d}'", err, t.id, t.formerly)
		return
	}
	t.has, t.result, t.version = false, "rolled back", resp.Version
}

// apply applies a config at a gateway. It waits until the gateway has stopped and started the
// actors this changes, or is away.
func (t *receiver) apply(toml string) (*configv1.ApplyResponse, error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go t.guard(ctx, cancel)
	one, c := *t, *t.Client
	c.Timeout = max(c.Timeout, applyTime)
	one.Client = &c
	resp := &configv1.ApplyResponse{}
	err := one.config(ctx, "Apply", &configv1.ApplyRequest{Toml: toml}, resp)
	if context.Cause(ctx) == errAway {
		err = errAway
	}
	return resp, err
}

var errAway = errors.New("the gateway disconnected while it applied the config")

const (
	guardEvery = 2 * time.Second
	maxMissed  = 3 // a gateway may be away for a moment when its leaf changes
)

// guard cancels a call to a gateway that is no longer there.
func (t *receiver) guard(ctx context.Context, cancel context.CancelCauseFunc) {
	look := time.NewTicker(guardEvery)
	defer look.Stop()
	for missed := 0; missed < maxMissed; {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		words, err := t.Conn.Ask(ctx, []string{t.id}, client.AskTime)
		if missed++; err != nil || len(words) == 1 && words[0].Answered {
			missed = 0
		}
	}
	cancel(errAway)
}

// report prints what became of each gateway.
func (p *push) report(w io.Writer) error {
	if p.c.AsJSON {
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
	rows := [][]terminal.Cell{terminal.Row("GATEWAY", "WAVE", "RESULT", "VERSION", "WHY")}
	for _, t := range p.targets {
		row := terminal.Row(t.id, "–", t.result, "–", t.why)
		if t.wave > 0 {
			row[1].Text = fmt.Sprint(t.wave)
		}
		if t.version > 0 {
			row[3].Text = fmt.Sprint(t.version)
		}
		row[2].Colour = map[string]string{
			"applied": terminal.Green, "valid": terminal.Green, "failed": terminal.Red, "not rolled back": terminal.Red, "refused": terminal.Red, "rolled back": terminal.Yellow, "away": terminal.Yellow,
		}[t.result]
		rows = append(rows, row)
	}
	if len(rows) == 1 {
		return nil
	}
	return terminal.Table(w, terminal.Painter(w), rows)
}
