package modbusunit

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors"
	"gatewayd/protocols/modbus/points"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

// recipe is the part of a config that describes a group's points.
type recipe struct {
	config  []*modbusv1.Point
	derived []*modbusv1.Derived
	limits  points.Limits
	report  *modbusv1.Report // of points that have none of their own
}

// table is the points of a group and the reads that cover them. Groups with equal configs share
// one, so it must not be changed.
type table struct {
	recipe
	points   []points.Point // the points that are read, then the derived ones
	read     int            // number of points that are read
	reads    []points.Read
	scaled   []scaling
	computed []computed // each after those it uses
	kinds    []valueKind
	rules    []rule // one for each point; nil: all are always published
}

func newTable(r recipe) (*table, error) {
	t := &table{recipe: r, points: make([]points.Point, len(r.config)), read: len(r.config)}
	for i, p := range r.config {
		var err error
		if t.points[i], err = pointOf(p); err != nil {
			return nil, &fault{p.Name, false, err}
		}
	}
	if err := t.link(); err != nil {
		return nil, err
	}
	t.rule()
	var err error
	t.reads, err = points.Plan(t.points[:t.read], r.limits)
	return t, err
}

func (t *table) rule() {
	rules, some := make([]rule, len(t.points)), false
	for i := range rules {
		r := t.report
		switch {
		case i < t.read && t.config[i].Report != nil:
			r = t.config[i].Report
		case i >= t.read && t.derived[i-t.read].Report != nil:
			r = t.derived[i-t.read].Report
		}
		rules[i] = ruleOf(r)
		some = some || rules[i].change
	}
	if some {
		t.rules = rules
	}
}

// same reports whether two recipes have the same settings and consist of the same message objects.
func (r *recipe) same(s *recipe) bool {
	return slices.Equal(r.config, s.config) && slices.Equal(r.derived, s.derived) && r.settings() == s.settings()
}

// equal reports whether two recipes mean the same.
func (r *recipe) equal(s *recipe) bool {
	return slices.EqualFunc(r.config, s.config, func(a, b *modbusv1.Point) bool { return proto.Equal(a, b) }) &&
		slices.EqualFunc(r.derived, s.derived, func(a, b *modbusv1.Derived) bool { return proto.Equal(a, b) }) && r.settings() == s.settings()
}

func (r *recipe) settings() string {
	return fmt.Sprint(r.limits, ruleOf(r.report))
}

// shared is what all units have in common: the tables in use, so that a hundred meters of one make
// take the memory of one, and messages to reuse.
type shared struct {
	tables actors.Shared[tableKey, table]
	forms  actors.Pool[samplev1.Samples]
}

// tableKey is the key of a table. The config reader uses one message object for equal points.
type tableKey struct {
	first    *modbusv1.Point
	points   int
	settings string
}

// table returns the table of a group's points, which must be at least one.
func (s *shared) table(r recipe) (*table, error) {
	return s.tables.Get(tableKey{r.config[0], len(r.config), r.settings()},
		func(t *table) bool { return t.same(&r) },
		func() (*table, error) {
			r.config, r.derived = slices.Clip(r.config), slices.Clip(r.derived)
			return newTable(r)
		})
}

// form returns a message for n samples.
func (s *shared) form(n int) *samplev1.Samples {
	m := s.forms.Take()
	m.Samples = slices.Grow(m.Samples[:0], n)[:n]
	for i := range m.Samples {
		if m.Samples[i] == nil {
			m.Samples[i] = &samplev1.Sample{}
		}
	}
	return m
}
