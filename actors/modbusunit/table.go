package modbusunit

import (
	"slices"

	"gatewayd/actors"
	"gatewayd/protocols/modbus/points"
	modbusv1 "gatewayd/schemas/modbus/v1"
	samplev1 "gatewayd/schemas/sample/v1"
)

// table is the points of a group and the reads that bring them. Groups of equal
// config have one in common; nobody changes it.
type table struct {
	config []*modbusv1.Point
	limits points.Limits
	points []points.Point
	reads  []points.Read
}

func newTable(config []*modbusv1.Point, limits points.Limits) (*table, error) {
	t := &table{config: slices.Clip(config), limits: limits, points: make([]points.Point, len(config))}
	for i, p := range config {
		t.points[i] = pointOf(p)
	}
	var err error
	t.reads, err = points.Plan(t.points, limits)
	return t, err
}

// shared is what all units have in common: the tables in use, so that a hundred
// meters of one make take the memory of one, and messages to fill.
type shared struct {
	tables actors.Common[tableKey, table]
	forms  actors.Spares[samplev1.Samples]
}

// tableKey finds a table. The config reader makes equal points one message.
type tableKey struct {
	first                *modbusv1.Point
	points               int
	registers, bits, gap int
}

// table is the table of a group's points, of which there is one at least.
func (s *shared) table(config []*modbusv1.Point, limits points.Limits) (*table, error) {
	key := tableKey{config[0], len(config), limits.MaxRegisters, limits.MaxBits, limits.Gap}
	return s.tables.Get(key,
		func(t *table) bool { return slices.Equal(t.config, config) },
		func() (*table, error) { return newTable(config, limits) })
}

// form is a message for n samples.
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
