package device

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"gatewayd/cmd/gatewayd/terminal"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// print prints the units found, and the tables the config lacks.
func (s *scan) print() error {
	p := terminal.Painter(s.out)
	head := terminal.Row("UNIT", "ANSWER", "TIME", "IDENTITY", "PROFILE", "CONFIG")
	tuned := s.found[0].Baud > 0
	if tuned {
		head = append(head, terminal.Row("SETTING")...)
	}
	rows := [][]terminal.Cell{head}
	for _, f := range s.found {
		said, colour := "answered", terminal.Green
		if f.Said != "" {
			said, colour = f.Said, terminal.Yellow
		}
		row := []terminal.Cell{
			{Text: strconv.Itoa(int(f.Unit))}, {Text: said, Colour: colour}, {Text: f.Took.AsDuration().Round(100 * time.Microsecond).String()},
			{Text: identity(f)}, {Text: strings.Join(f.Profiles, ", ")}, {Text: s.known[f.Unit].path},
		}
		if tuned {
			row = append(row, terminal.Cell{Text: setting(f)})
		}
		rows = append(rows, row)
	}
	if err := terminal.Table(s.out, p, rows); err != nil {
		return err
	}
	_, err := io.WriteString(s.out, s.snippet())
	return err
}

func setting(f *modbusv1.FoundUnit) string { return fmt.Sprintf("%d Bd, parity %s", f.Baud, f.Parity) }

// identity returns in one line how the unit identifies itself.
func identity(f *modbusv1.FoundUnit) string {
	var parts []string
	for _, o := range f.Objects {
		if o.Id <= 2 && o.Value != "" {
			parts = append(parts, o.Value)
		}
	}
	if len(parts) == 0 && f.ServerId != "" {
		parts = []string{"server id " + f.ServerId}
	}
	text := []rune(strings.Join(parts, " "))
	if len(text) > terminal.Widest {
		text = append(text[:terminal.Widest-1], '…')
	}
	return strings.Map(terminal.Printable, string(text))
}

// snippet returns the config tables for the units that the config does not have.
func (s *scan) snippet() string {
	var b strings.Builder
	group := ""
	if i := strings.LastIndex(s.line, "/"); i >= 0 {
		group = strings.ReplaceAll(s.line[:i], "/", ".") + "."
	}
	for _, f := range s.found {
		if s.known[f.Unit].path != "" {
			continue
		}
		fmt.Fprintf(&b, "\n[%sunit-%d]", group, f.Unit)
		if text := identity(f); text != "" {
			fmt.Fprintf(&b, " # %s", text)
		}
		if f.Baud > 0 {
			fmt.Fprintf(&b, "\n# the line must be set to baud = %d, parity = %q", f.Baud, f.Parity)
		}
		fmt.Fprintf(&b, "\nkind    = \"modbus-unit\"\nlink    = %s\nunit    = %d\n", quoted(s.line), f.Unit)
		if len(f.Profiles) > 0 {
			fmt.Fprintf(&b, "profile = %s\n", quoted(f.Profiles[0]))
		} else {
			b.WriteString("# profile = \"…\": no profile recognizes this device; the README of modbus-unit lists the profiles\n")
		}
	}
	return b.String()
}

func quoted(text string) string {
	out, err := json.Marshal(text)
	if err != nil {
		return strconv.Quote(text)
	}
	return string(out)
}
