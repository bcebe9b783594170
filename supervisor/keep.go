package supervisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"gatewayd/bus"
	configv1 "gatewayd/schemas/config/v1"
)

// applied makes the new config the one in force.
func (g *group) applied(a *applying) {
	g.t.adopt(a.next)
	g.aside(func() any { return a.put(nil) })
}

// keepAgain writes the config in force to disk after an earlier write failed.
func (g *group) keepAgain(a *applying) {
	if g.applying != nil {
		a.req.Refuse(bus.Errorf(bus.Aborted, "a config change is under way"))
		return
	}
	a.next = g.t.Config()
	a.good, a.write = a.next, g.owed != nil
	a.answer = func(o outcome) any { return &configv1.KeepResponse{Unkept: o.unkept} }
	g.applying = a
	over := g.owed
	g.aside(func() any { return a.put(over) })
}

// put writes the config in force to the history, and to its file unless it came from there. If over
// is not nil and the file holds anything else, the file has been edited since and is left alone; if
// over is nil the file is overwritten.
func (a *applying) put(over []byte) kept {
	m := kept{a: a, owes: a.write}
	m.changes = protoChanges(a.all)
	err := guarded(context.Background(), func(context.Context) error {
		return errors.Join(a.putFile(&m, over), a.putHistory(&m))
	})
	if err != nil {
		m.unkept = err.Error()
	}
	return m
}

func (a *applying) putFile(m *kept, over []byte) (err error) {
	if !a.write {
		return nil
	}
	now, readErr := a.source.Read()
	if over != nil && (readErr != nil || !bytes.Equal(now, over)) {
		m.owes = false
		return nil
	}
	m.over = append([]byte{}, now...)
	if a.back {
		if m.file, m.rejected, err = a.source.Reject(); err != nil {
			return fmt.Errorf("the config file is unchanged, because its previous version cannot be saved: %w", err)
		}
	}
	if err := a.source.Write(a.next.Text.Bytes()); err != nil {
		return fmt.Errorf("the config file: %w", err)
	}
	m.owes = false
	return nil
}

func (a *applying) putHistory(m *kept) (err error) {
	if a.back {
		m.restored = versionOf(a.source, a.next.Text.Bytes())
	}
	if m.version, err = a.source.Keep(a.next.Text.Bytes()); err != nil {
		return fmt.Errorf("the history of configs, version %d: %w", m.version, err)
	}
	return nil
}

// versionOf returns the newest version with this text, 0 if there is none.
func versionOf(source Source, text []byte) uint64 {
	versions, err := source.Versions()
	if err != nil {
		return 0
	}
	for _, v := range versions {
		if v.Toml == string(text) {
			return v.Version
		}
	}
	return 0
}
