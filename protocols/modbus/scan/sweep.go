// Package scan finds the units behind a line or link: it determines which request to send next and
// what the answers mean. It sends nothing itself and has no clock: the owner of the line sends the
// requests.
package scan

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gatewayd/protocols/modbus"
)

// Config says what to look for.
type Config struct {
	Units []uint8       // addresses to ask, in this order
	Wait  time.Duration // how long to wait for an answer
	Marks []Mark        // distinguish types of devices
}

// Mark identifies devices of a profile. Everything that is set must match.
type Mark struct {
	Profile string
	Vendor  string // part of the vendor name by function 43/14, case-insensitive
	Product string // part of the product code
	Input   bool   // the registers are input registers, not holding registers
	Address uint16 // the first of the registers
	Values  []uint16
}

// Found is a unit that exists.
type Found struct {
	Unit     uint8
	Said     string        // empty: it has answered; otherwise its exception, or why its answers cannot be understood
	Took     time.Duration // time until its answer
	Objects  []modbus.Object
	ServerID []byte   // nil: it does not support function 17
	Profiles []string // profiles whose marks match
}

// Sweep asks one address after the other. It is not safe for concurrent use.
type Sweep struct {
	config Config
	knocks []knock // still to be sent
	asked  map[uint8]bool
	silent *knock // the last knock, if the method sent no answer
	now    *visit // to a unit that exists
}

// knock asks whether a unit exists.
type knock struct {
	unit uint8
	// A frame arrived that was not expected: ask with another function, with which its late answer
	// cannot be confused.
	again bool
}

// visit asks a unit what it is.
type visit struct {
	found *Found
	ask   []modbus.Request
	read  map[string][]uint16 // contents of registers, by place
}

// objects is the number of identification objects after which no further transaction is made for
// more.
const objects = 8

// New returns a sweep that has not asked any address yet.
func New(c Config) *Sweep {
	s := &Sweep{config: c, asked: map[uint8]bool{}}
	for _, u := range c.Units {
		if !slices.ContainsFunc(s.knocks, func(k knock) bool { return k.unit == u }) {
			s.knocks = append(s.knocks, knock{unit: u})
		}
	}
	return s
}

// Progress returns how many addresses have been asked, and how many there are.
func (s *Sweep) Progress() (asked, total int) {
	rest := map[uint8]bool{}
	for _, k := range s.knocks {
		rest[k.unit] = !s.asked[k.unit]
	}
	total = len(s.asked)
	for _, open := range rest {
		if open {
			total++
		}
	}
	return len(s.asked), total
}

// Next returns the next request; ok is false at the end. Done must be called after it.
func (s *Sweep) Next() (r modbus.Request, ok bool) {
	if s.now != nil {
		return s.now.ask[0], true
	}
	if len(s.knocks) == 0 {
		return r, false
	}
	k := s.knocks[0]
	r = modbus.Request{Unit: k.unit, Function: modbus.ReadHoldingRegisters, Quantity: 1, Timeout: s.config.Wait}
	if k.again {
		r.Function, r.Timeout = modbus.ReadInputRegisters, 4*s.config.Wait
	}
	return r, true
}

// Done reports the outcome of the request that Next returned. It returns a unit that was found once
// everything is known about it.
func (s *Sweep) Done(answer modbus.Response, err error, took time.Duration) *Found {
	if s.now == nil {
		s.knocked(err, took)
	} else {
		s.visited(answer, err)
	}
	if v := s.now; v != nil && len(v.ask) == 0 {
		s.now = nil
		v.found.Profiles = s.profiles(v)
		return v.found
	}
	return nil
}

func (s *Sweep) knocked(err error, took time.Duration) {
	k := s.knocks[0]
	s.knocks = s.knocks[1:]
	s.asked[k.unit] = true
	before := s.silent
	s.silent = nil
	var e *modbus.Exception
	switch {
	case err == nil:
		s.visit(k.unit, "", took)
	case errors.As(err, &e) && (e.Code == modbus.GatewayPath || e.Code == modbus.GatewayTarget): // sent by a gateway because there is no such unit
	case errors.As(err, &e):
		s.visit(k.unit, e.Error(), took)
	case errors.Is(err, modbus.ErrCorrupt) && k.again:
		s.visit(k.unit, "corrupt answers: two units have this address, or the line is disturbed", took)
	case errors.Is(err, modbus.ErrCorrupt), errors.Is(err, modbus.ErrMismatch):
		if !k.again {
			s.knocks = slices.Insert(s.knocks, 0, knock{k.unit, true})
		}
		if before != nil && !before.again { // it may be its late answer
			s.knocks = slices.Insert(s.knocks, 0, knock{before.unit, true})
		}
	default:
		s.silent = &k
	}
}

// visit starts asking a unit what it is. A unit whose answers cannot be understood is not asked.
func (s *Sweep) visit(unit uint8, said string, took time.Duration) {
	v := &visit{found: &Found{Unit: unit, Said: said, Took: took}, read: map[string][]uint16{}}
	s.now = v
	if strings.HasPrefix(said, "answers") {
		return
	}
	v.ask = []modbus.Request{modbus.Identify(unit, modbus.RegularIdentification, 0), {Unit: unit, Function: modbus.ReportServerID}}
	for _, m := range s.config.Marks {
		if r, ok := m.request(unit); ok && !slices.ContainsFunc(v.ask, func(o modbus.Request) bool { return place(o) == place(r) }) {
			v.ask = append(v.ask, r)
		}
	}
	for i := range v.ask {
		v.ask[i].Timeout = 2 * s.config.Wait
	}
}

func (m Mark) request(unit uint8) (r modbus.Request, ok bool) {
	r = modbus.Request{Unit: unit, Function: modbus.ReadHoldingRegisters, Address: m.Address, Quantity: uint16(len(m.Values))}
	if m.Input {
		r.Function = modbus.ReadInputRegisters
	}
	return r, len(m.Values) > 0 && r.Check(modbus.TCP) == nil
}

// place identifies a read.
func place(r modbus.Request) string { return fmt.Sprint(r.Function, r.Address, r.Quantity) }

func (s *Sweep) visited(answer modbus.Response, err error) {
	v := s.now
	r := v.ask[0]
	v.ask = v.ask[1:]
	if err != nil {
		return // the unit does not support it
	}
	switch r.Function {
	case modbus.EncapsulatedInterface:
		v.identified(r, answer)
	case modbus.ReportServerID:
		v.found.ServerID = slices.Clone(answer.Data)
	default:
		values := make([]uint16, len(answer.Data)/2)
		for i := range values {
			values[i] = answer.Register(i)
		}
		v.read[place(r)] = values
	}
}

func (v *visit) identified(r modbus.Request, answer modbus.Response) {
	id, err := modbus.ParseIdentification(answer.Data)
	if err != nil {
		return
	}
	last := r.Data[2]
	for _, o := range id.Objects {
		last = max(last, o.ID)
		v.found.Objects = append(v.found.Objects, modbus.Object{ID: o.ID, Value: slices.Clone(o.Value)})
	}
	if id.More && id.Next > last && len(v.found.Objects) < objects {
		next := modbus.Identify(r.Unit, modbus.RegularIdentification, id.Next)
		next.Timeout = r.Timeout
		v.ask = slices.Insert(v.ask, 0, next)
	}
}

// profiles returns the profiles whose marks match the unit, each once.
func (s *Sweep) profiles(v *visit) (names []string) {
	for _, m := range s.config.Marks {
		if m.met(v) && !slices.Contains(names, m.Profile) {
			names = append(names, m.Profile)
		}
	}
	return names
}

func (m Mark) met(v *visit) bool {
	has := func(id uint8, part string) bool {
		return slices.ContainsFunc(v.found.Objects, func(o modbus.Object) bool {
			return o.ID == id && strings.Contains(strings.ToLower(string(o.Value)), strings.ToLower(part))
		})
	}
	if m.Vendor != "" && !has(0, m.Vendor) || m.Product != "" && !has(1, m.Product) {
		return false
	}
	r, ok := m.request(v.found.Unit)
	if !ok {
		return m.Vendor != "" || m.Product != ""
	}
	return slices.Equal(v.read[place(r)], m.Values)
}
