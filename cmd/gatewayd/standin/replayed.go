package standin

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/actors"
	"gatewayd/actors/serialline"
	"gatewayd/actors/tcplink"
	"gatewayd/bus"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/cmd/gatewayd/files"
	"gatewayd/protocols/modbus/record"
	"gatewayd/protocols/modbus/replay"
	"gatewayd/protocols/serial"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	modbusv1 "gatewayd/schemas/modbus/v1"
	"gatewayd/supervisor/config"
)

// onLine returns the kinds of this gateway, with links that connect to the recording.
func (r *replaying) onLine(line *replay.Line) []actors.Kind {
	all := slices.Clone(r.kinds)
	for i, k := range all {
		switch k.Name {
		case serialline.Kind.Name:
			all[i] = serialline.Over(line.Dial)
		case tcplink.Kind.Name:
			all[i] = tcplink.Over(line.Dial)
		}
	}
	return all
}

// narrow reduces a config to the link, its units and their firewalls, and lets the bus listen on a
// free port.
func (r *replaying) narrow(cfg *config.Tree, recorded record.Header) error {
	link := cfg.Find(r.link)
	switch {
	case r.link == "":
		return exit.Usage("the recording does not name its link: give one of %s with --link", r.config)
	case link == nil && r.link != recorded.Link:
		return exit.Usage("--link %s is not in %s", r.link, r.config)
	case link == nil:
		return exit.Usage("the recording is from %s, which is not in %s: give another link with --link", r.link, r.config)
	case link.Kind != serialline.Kind.Name && link.Kind != tcplink.Kind.Name:
		return exit.Usage("%s is a %s; only a serial-line or a tcp-link can be replayed", r.link, cmp.Or(link.Kind, "group"))
	}
	if here, there := link.Config.(interface{ GetFraming() string }).GetFraming(), strings.TrimSuffix(recorded.Framing.String(), "-over-tcp"); here != there {
		return exit.Usage("the recording has %s frames, and %s speaks %s", there, r.link, here)
	}
	wanted := map[string]bool{r.link: true}
	cfg.Walk(func(n *config.Node) {
		if u, ok := n.Config.(*modbusv1.Unit); ok && u.Link == r.link {
			wanted[n.Path], wanted[u.Firewall] = true, true
		}
	})
	keep(cfg.Root, wanted)
	root := cfg.Root.Config.(*gatewayv1.Gateway)
	root.Watchdog = nil
	quiet := cfg.Find("bus").Config.(*gatewayv1.Bus)
	quiet.Listen = "127.0.0.1:0"
	cfg.Walk(func(n *config.Node) {
		if wanted[n.Path] && r.speed != 1 {
			n.Config = proto.Clone(n.Config) // nodes share equal configs
			hasten(n.Config.ProtoReflect(), r.speed)
		}
	})
	r.shown = wanted
	return nil
}

// keep removes the children that are not wanted, except implicit actors and groups that hold a
// wanted one.
func keep(n *config.Node, wanted map[string]bool) {
	n.Children = slices.DeleteFunc(n.Children, func(c *config.Node) bool {
		keep(c, wanted)
		if c.Kind == "" {
			return len(c.Children) == 0
		}
		return !wanted[c.Path] && !slices.Contains(files.Implicit, c.Kind)
	})
}

// hasten divides all durations in a config by a factor, including those in lists and nested
// messages, and multiplies the baud rate by it.
func hasten(m protoreflect.Message, by float64) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.Message() == nil || fd.IsMap():
		case fd.IsList():
			for i := range v.List().Len() {
				hasten(v.List().Get(i).Message(), by)
			}
		default:
			d, ok := v.Message().Interface().(*durationpb.Duration)
			if !ok {
				hasten(v.Message(), by)
				break
			}
			m.Set(fd, protoreflect.ValueOfMessage(durationpb.New(time.Duration(float64(d.AsDuration())/by)).ProtoReflect()))
		}
		return true
	})
	if line, ok := m.Interface().(*modbusv1.SerialLine); ok {
		line.Baud = min(uint32(float64(line.Baud)*by), serial.MaxBaud)
	}
}

// concerns reports whether a message is from the link, a unit on it or their firewalls, or is about
// their healing.
func (r *replaying) concerns(m bus.Msg) bool {
	a, err := bus.ParseSubject(m.Subject)
	return err == nil && (r.shown[a.Path] && a.Leaf != "catalogue" || a.Class == bus.Event && a.Leaf == "healed")
}
