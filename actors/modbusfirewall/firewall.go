// Package modbusfirewall implements the modbus-firewall actor kind: it holds the rules on who may
// do what to Modbus units and judges requests for the actors that carry them out. The rules are
// evaluated by package protocols/modbus/firewall.
package modbusfirewall

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"gatewayd/actors"
	"gatewayd/actors/modbusdoor"
	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/dispatch"
	"gatewayd/protocols/modbus/firewall"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Kind describes the modbus-firewall actor kind.
var Kind = actors.Define(actors.Kind{
	Name:     "modbus-firewall",
	Doc:      "Judges by rules who may do what to which registers of Modbus units, and watches over controllers that must not fall silent.",
	Services: []protoreflect.ServiceDescriptor{actors.Service(modbusv1.File_modbus_v1_firewall_proto, "FirewallService")},
	Publishes: []actors.Leaf{
		{Class: "event", Leaf: "dead-man", Message: &modbusv1.DeadManChanged{}},
		{Class: "event", Leaf: "audited", Message: &modbusv1.Audited{}},
		{Class: "state", Leaf: "dead-man", Message: &modbusv1.DeadManState{}},
	},
	Live:   true,
	Limit:  4096,
	Check:  wrong,
	Beside: beside,
}, func(cfg *modbusv1.Firewall) actors.Actor {
	return &keeper{cfg: cfg, places: map[string]dispatch.Place{}, asking: map[string]bool{}}
})

type keeper struct {
	cfg     *modbusv1.Firewall
	rules   *firewall.Firewall
	groups  []*group
	gone    []string               // tripped groups that are not in this config; a reload that is taken back may return them
	recall  bool                   // not known yet which groups had tripped before this life
	read    bool                   // the note on disk has been read, or can never be read
	lost    string                 // why it can never be read
	written *modbusv1.DeadManState // content of the note on disk, or the note handed in last
	unnoted bool                   // a failure to write the note has been logged
	gate    modbusdoor.Gate
	places  map[string]dispatch.Place // places of the units of safe writes, by path
	asking  map[string]bool           // units that have been asked for their place
}

func (k *keeper) Receive(c *actors.Context, msg any) error {
	if k.gate.Take(c, msg) {
		return nil
	}
	switch m := msg.(type) {
	case actors.Started:
		k.recall = len(k.cfg.DeadMan) > 0
		c.Recall(noteLeaf, &modbusv1.DeadManState{})
		return k.enforce(c, k.cfg)
	case actors.Reconfigured:
		if err := k.enforce(c, m.Config.(*modbusv1.Firewall)); err != nil {
			return err
		}
		c.WhenSettled()
		if !k.recall {
			k.tell(c) // groups may have been removed
		}
	case actors.Settled:
		k.settled(c, m)
	case *firewall.Question:
		c.Reply(&firewall.Judged{Question: m, Verdict: k.verdict(c, m)})
	case *modbusv1.JudgeRequest:
		k.judge(c, m)
	default:
		k.watch(c, msg)
	}
	return nil
}

// enforce puts the rules and groups of cfg in force. Counting for rates starts anew.
func (k *keeper) enforce(c *actors.Context, cfg *modbusv1.Firewall) error {
	f, err := rulesOf(cfg)
	if err != nil {
		return actors.Broken(err)
	}
	groups, err := k.assemble(cfg)
	if err != nil {
		return actors.Broken(err)
	}
	k.cfg, k.rules = cfg, f
	return k.guard(c, groups)
}

func rulesOf(cfg *modbusv1.Firewall) (*firewall.Firewall, error) {
	otherwise, err := firewall.ParseAction(cfg.Otherwise)
	if err != nil {
		return nil, err
	}
	rules := make([]firewall.Rule, len(cfg.Rules))
	for i, r := range cfg.Rules {
		if rules[i], err = ruleOf(r); err != nil {
			return nil, fmt.Errorf("rule %s: %w", r.Name, err)
		}
	}
	return firewall.New(rules, otherwise)
}

// wrong validates what the rules of single fields cannot express.
func wrong(config proto.Message) []schemas.Violation {
	cfg := config.(*modbusv1.Firewall)
	var found []schemas.Violation
	for i, r := range cfg.Rules {
		_, err := rulesOf(&modbusv1.Firewall{Otherwise: cfg.Otherwise, Rules: []*modbusv1.FirewallRule{r}})
		found = append(found, schemas.Wrong(fmt.Sprintf("rules[%d]", i), err)...)
	}
	_, err := (&keeper{}).assemble(cfg)
	return append(found, schemas.Wrong("", err)...)
}

func ruleOf(r *modbusv1.FirewallRule) (firewall.Rule, error) {
	rule := firewall.Rule{
		Name: r.Name, Identities: r.Callers, Units: r.Units, Functions: r.Functions,
		Addresses: r.Addresses, Values: r.Values, Times: r.Times,
	}
	var err error
	if rule.Action, err = firewall.ParseAction(r.Action); err != nil || r.Rate == "" {
		return rule, err
	}
	count, per, _ := strings.Cut(r.Rate, " in ")
	if rule.Rate, err = strconv.Atoi(count); err != nil || rule.Rate == 0 {
		return rule, fmt.Errorf("rate %q: %q is not a number from 1 to 1000; to forbid it, use action deny", r.Rate, count)
	}
	if rule.Per, err = time.ParseDuration(per); err != nil {
		return rule, fmt.Errorf("rate %q: %q is not a duration like 1m30s", r.Rate, per)
	}
	return rule, nil
}

func (k *keeper) judge(c *actors.Context, m *modbusv1.JudgeRequest) {
	r, err := requestOf(m)
	if err != nil {
		c.Refuse(actors.Errorf(actors.InvalidArgument, "%s", err))
		return
	}
	at := time.Now()
	if m.Time != nil {
		at = m.Time.AsTime().Local()
	}
	v := k.rules.Look(firewall.Question{Identity: m.Caller, Unit: m.Unit, Request: r}, at)
	c.Reply(&modbusv1.JudgeResponse{Action: v.Action.String(), Rule: v.Rule, Why: v.Why})
}

// requestOf returns the request that m describes.
func requestOf(m *modbusv1.JudgeRequest) (modbus.Request, error) {
	r := modbus.Request{Function: uint8(m.Function), Address: uint16(m.Address), Quantity: uint16(m.Quantity)}
	for i, v := range m.Values {
		if v > 0xffff {
			return r, fmt.Errorf("values[%d]: %d is out of range: a register holds 0 to 65535", i, v)
		}
	}
	switch r.Function {
	case modbus.WriteSingleCoil, modbus.WriteMultipleCoils:
		r.Quantity, r.Data = uint16(len(m.Values)), coils(m.Values, r.Function)
	case modbus.WriteSingleRegister, modbus.WriteMultipleRegisters, modbus.MaskWriteRegister:
		for _, v := range m.Values {
			r.Data = binary.BigEndian.AppendUint16(r.Data, uint16(v))
		}
		if r.Quantity = uint16(len(m.Values)); r.Function == modbus.MaskWriteRegister {
			r.Quantity = 1
		}
	case modbus.ReadCoils, modbus.ReadDiscreteInputs, modbus.ReadHoldingRegisters, modbus.ReadInputRegisters:
	case modbus.ReadWriteMultipleRegisters:
		return r, fmt.Errorf("function 23 reads and writes: judge functions 3 and 16 separately")
	default:
		return r, nil
	}
	r.Unit = 1
	return r, r.Check(modbus.TCP)
}

func coils(values []uint32, function uint8) []byte {
	if function == modbus.WriteSingleCoil && len(values) == 1 {
		return []byte{byte(0xff * min(values[0], 1)), 0}
	}
	data := make([]byte, (len(values)+7)/8)
	for i, v := range values {
		data[i/8] |= byte(min(v, 1)) << (i % 8)
	}
	return data
}
