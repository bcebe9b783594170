package modbusunit_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"gatewayd/actors/modbusunit"
	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// configured returns an actor with a config and its defaults.
func configured[M proto.Message](path string, m M, change func(M)) schemas.Actor {
	schemas.Defaults(m)
	change(m)
	return schemas.Actor{Path: path, Kind: "kind", Config: m}
}

// polling returns a unit with n single registers far apart.
func polling(number uint32, every, reads int, change func(*modbusv1.Unit)) schemas.Actor {
	return configured(fmt.Sprintf("f/meter-%d", number), &modbusv1.Unit{}, func(u *modbusv1.Unit) {
		u.Link, u.Unit, u.Every = "f/line", number, ms(every)
		for i := range reads {
			u.Points = append(u.Points, &modbusv1.Point{Name: fmt.Sprintf("p%d", i), Address: uint32(200 * i)})
		}
		change(u)
	})
}

func TestWhatCannotFitIsFoundBesideItsLine(t *testing.T) {
	serial := func(change func(*modbusv1.SerialLine)) schemas.Actor {
		return configured("f/line", &modbusv1.SerialLine{}, func(l *modbusv1.SerialLine) { l.Baud = 9600; change(l) })
	}
	tcp := func(change func(*modbusv1.TcpLink)) schemas.Actor {
		return configured("f/line", &modbusv1.TcpLink{}, change)
	}
	asIs := func(*modbusv1.SerialLine) {}
	nothing := func(*modbusv1.Unit) {}
	slow := func(u *modbusv1.Unit) { u.Latency = ms(100) }
	rests := func(u *modbusv1.Unit) { u.Rest = ms(100) }
	grouped := func(u *modbusv1.Unit) {
		u.Groups = []*modbusv1.ScanGroup{{Name: "fast", Every: ms(20)}}
		u.Points[0].Group = "fast"
	}
	untimed := func(u *modbusv1.Unit) {
		grouped(u)
		u.Groups[0].Every = nil // missing or misspelt
	}
	for _, c := range []struct {
		name  string
		all   []schemas.Actor
		warns bool
		want  []string // parts of one finding; none: there must be no finding
	}{
		{"it fits", []schemas.Actor{serial(asIs), polling(7, 500, 2, nothing)}, false, nil},
		{"it does not", []schemas.Actor{serial(asIs), polling(7, 100, 5, nothing), polling(8, 1000, 1, nothing)}, false,
			[]string{"f/line", "the polls of 2 units need 1", "f/meter-7 1", `overload = "allow"`, "baud = 19200", `every = "150ms" of f/meter-7`}},
		{"it is allowed", []schemas.Actor{serial(func(l *modbusv1.SerialLine) { l.Overload = "allow" }), polling(7, 10, 5, nothing)}, false, nil},
		{"by what is assumed", []schemas.Actor{serial(asIs), polling(7, 100, 3, nothing)}, true, []string{"if each answer takes 20ms"}},
		{"by what is said", []schemas.Actor{serial(asIs), polling(7, 300, 3, slow)}, false, []string{"need 126 %", "f/meter-7"}},
		{"a group without interval", []schemas.Actor{serial(asIs), polling(7, 1000, 3, untimed), polling(8, 1000, 1, nothing)}, false, nil},
		{"a group", []schemas.Actor{serial(asIs), polling(7, 1000, 3, grouped)}, false, []string{`every = "30ms" of group "fast" of f/meter-7`}},
		{"a unit that must rest", []schemas.Actor{serial(asIs), polling(7, 500, 5, rests)}, false, []string{"f/meter-7", "pauses of 100ms", "126 %", "1.4 times"}},
		{"over a network nothing is known", []schemas.Actor{tcp(func(*modbusv1.TcpLink) {}), polling(7, 10, 50, nothing)}, false, nil},
		{"but what is said", []schemas.Actor{tcp(func(*modbusv1.TcpLink) {}), polling(7, 300, 4, slow)}, false, []string{"need 134 %"}},
		{"several at a time", []schemas.Actor{tcp(func(l *modbusv1.TcpLink) { l.InFlight = 4 }), polling(7, 300, 4, slow)}, false, nil},
		{"a serial device server", []schemas.Actor{tcp(func(l *modbusv1.TcpLink) { l.Baud, l.Framing = 9600, "rtu" }), polling(7, 100, 5, nothing)}, false, []string{"need 12"}},
		{"a unit that is wrong by itself", []schemas.Actor{serial(asIs), polling(7, 10, 5, func(u *modbusv1.Unit) { u.Holes = []string{"holding 0-99999"} })}, false, nil},
		{"many a little", crowd(serial(asIs), 30), false, []string{"30 units", "intervals", "times as long"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := modbusunit.Kind.Beside(c.all)
			if len(found) != min(1, len(c.want)) {
				t.Fatalf("%+v", found)
			}
			for _, part := range c.want {
				if f := found[0]; !strings.Contains(f.Actor+": "+f.Message, part) || f.Warning != c.warns {
					t.Errorf("%q is missing, or its weight is wrong: %+v", part, f)
				}
			}
		})
	}
}

func crowd(line schemas.Actor, n uint32) []schemas.Actor {
	all := []schemas.Actor{line}
	for i := range n {
		all = append(all, polling(i+1, 500, 1, func(*modbusv1.Unit) {}))
	}
	return all
}

func TestNotesTellWhatHasRoom(t *testing.T) {
	line := configured("f/line", &modbusv1.SerialLine{}, func(l *modbusv1.SerialLine) { l.Baud = 9600 })
	told := modbusunit.Kind.Notes([]schemas.Actor{line, polling(7, 1000, 1, func(*modbusv1.Unit) {})})
	if len(told) != 1 || told[0].Actor != "f/line" || told[0].Message != "the polls of 1 unit take 4.5 % of its time; slack: f/meter-7 955ms; there is room for 18 more like f/meter-7" {
		t.Errorf("%+v", told)
	}
	all := []schemas.Actor{line}
	for i := range uint32(6) {
		all = append(all, polling(i, 6000-1000*int(i), 1, func(*modbusv1.Unit) {}))
	}
	if told := modbusunit.Kind.Notes(all); !strings.Contains(told[0].Message, "; slack: f/meter-5 8") || !strings.Contains(told[0].Message, "f/meter-2 3.5") || !strings.Contains(told[0].Message, "s, 2 more; there is room") {
		t.Errorf("%+v", told)
	}
	if told := modbusunit.Kind.Notes([]schemas.Actor{line}); len(told) != 0 {
		t.Errorf("%+v", told)
	}
}
