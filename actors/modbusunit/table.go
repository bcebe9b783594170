package modbusunit

import (
	"runtime"
	"slices"
	"sync"
	"weak"

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

// shared is what all units of the process have in common: the tables in use, so
// that a hundred meters of one make take the memory of one, and messages to fill.
type shared struct {
	forms sync.Pool // of *samplev1.Samples

	mu     sync.Mutex
	tables map[tableKey]weak.Pointer[table]
}

// tableKey finds a table. The config reader makes equal points one message.
type tableKey struct {
	first                *modbusv1.Point
	points               int
	registers, bits, gap int
}

// table finds or makes the table of a group's points, of which there is one at least.
func (s *shared) table(config []*modbusv1.Point, limits points.Limits) (*table, error) {
	key := tableKey{config[0], len(config), limits.MaxRegisters, limits.MaxBits, limits.Gap}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tables[key].Value(); t != nil && slices.Equal(t.config, config) {
		return t, nil
	}
	t, err := newTable(config, limits)
	if err != nil {
		return nil, err
	}
	if s.tables == nil {
		s.tables = map[tableKey]weak.Pointer[table]{}
	}
	s.tables[key] = weak.Make(t)
	runtime.AddCleanup(t, s.forget, key)
	return t, nil
}

// forget drops a table that nobody has any more.
func (s *shared) forget(key tableKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tables[key].Value() == nil {
		delete(s.tables, key)
	}
}

// form is a message for n samples; whoever has published it gives it back.
func (s *shared) form(n int) *samplev1.Samples {
	m, _ := s.forms.Get().(*samplev1.Samples)
	if m == nil {
		m = &samplev1.Samples{}
	}
	m.Samples = m.Samples[:min(n, cap(m.Samples))]
	for i := range m.Samples {
		if m.Samples[i] == nil {
			m.Samples[i] = &samplev1.Sample{}
		}
	}
	for len(m.Samples) < n {
		m.Samples = append(m.Samples, &samplev1.Sample{})
	}
	return m
}
