package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/bus"
	"gatewayd/protocols/modbus/profiles"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

func scanCommand() *cobra.Command {
	s := &scan{}
	cmd := &cobra.Command{
		Use:   "scan LINE",
		Short: "Find the units on a line or link of a running gateway",
		Long: `Find the units on a line or link of a running gateway: each address is asked for one
register, and whoever answers, if only to refuse, is there. Then it is asked what it
is (functions 43/14 and 17, and the marks of known profiles), a profile is suggested,
and at the end the lines are printed that the config needs.

Polls go on: the scan takes its turn among them, and a poll waits for --wait at most.
--baud and --parity try other settings of a serial line; nobody else can use it
meanwhile, so that they need --suspend. The settings are put back at the end, also
when the scan is interrupted.`,
		Example: `  gatewayd scan field/rs485-1/line
  gatewayd scan field/rs485-1/line --units 1-20 --wait 500ms
  gatewayd scan field/rs485-1/line --units 1-10 --baud 9600,19200,38400 --parity none,even --suspend`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: s.completePath,
		RunE: func(cmd *cobra.Command, args []string) error {
			s.out, s.progress = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return s.run(cmd.Context(), strings.Trim(args[0], "/"))
		},
	}
	s.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&s.units, "units", "1-247", "addresses to ask, like 1-20,42")
	f.DurationVar(&s.wait, "wait", 200*time.Millisecond, "longest wait for an answer")
	f.UintSliceVar(&s.bauds, "baud", nil, "speeds to try, like 9600,19200; needs --suspend")
	f.StringSliceVar(&s.parities, "parity", nil, "parities to try: none, even, odd; needs --suspend")
	f.BoolVar(&s.suspend, "suspend", false, "nobody else uses the line while it is scanned")
	f.StringArrayVar(&s.own, "profile", nil, "a profile of your own whose marks are looked for too; may be repeated")
	return cmd
}

// scan is a scan and what it has found.
type scan struct {
	client
	units    string
	wait     time.Duration
	bauds    []uint
	parities []string
	suspend  bool
	own      []string

	out, progress io.Writer
	line          string
	known         map[uint32]string // units of the config on this line: their paths
	found         []*modbusv1.FoundUnit
	asked, total  uint32
}

func (s *scan) run(ctx context.Context, line string) error {
	if strings.Contains(line, "://") {
		return usage("%s is no actor: what is scanned is a line or link of a running gateway, like field/rs485-1/line", line)
	}
	request, err := s.request()
	if err != nil {
		return err
	}
	if err := s.connect(ctx); err != nil {
		return err
	}
	defer s.close()
	s.line = line
	subject, err := s.subject(line, "Scan")
	if err != nil {
		return err
	}
	if s.known, err = s.configured(ctx); err != nil {
		return err
	}
	err = s.conn.Stream(ctx, subject, request, s.heard)
	s.show("")
	if !s.asJSON && len(s.found) > 0 {
		if err := s.print(); err != nil {
			return err
		}
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted after %d of %d addresses, %s found", s.asked, s.total, counted(len(s.found), "unit"))
	case err != nil:
		return s.explain(err)
	case len(s.found) == 0:
		return fmt.Errorf("nobody answers on %s: %d addresses were asked; try --wait 1s, or other settings by --baud and --parity", line, s.asked)
	}
	return nil
}

// request is what was typed.
func (s *scan) request() (*modbusv1.ScanRequest, error) {
	units, err := parseUnits(s.units, 255)
	if err != nil {
		return nil, err
	}
	m := &modbusv1.ScanRequest{Wait: durationpb.New(s.wait), Parities: s.parities, Suspend: s.suspend}
	for _, u := range units {
		m.Units = append(m.Units, uint32(u))
	}
	for _, b := range s.bauds {
		m.Bauds = append(m.Bauds, uint32(b))
	}
	if (len(s.bauds) > 0 || len(s.parities) > 0) && !s.suspend {
		return nil, usage("no unit of the line is heard while other settings are tried: allow it with --suspend")
	}
	for _, name := range append(profiles.Names(), s.own...) {
		p, err := profile(name)
		if err != nil {
			return nil, err
		}
		for _, i := range p.Identify {
			m.Marks = append(m.Marks, &modbusv1.Mark{Profile: name, Identify: i})
		}
	}
	return m, nil
}

// configured are the units that the gateway has on the line already.
func (s *scan) configured(ctx context.Context) (map[uint32]string, error) {
	all, _, err := s.states(ctx)
	if err != nil {
		return nil, s.explain(err)
	}
	known := map[uint32]string{}
	for _, one := range all {
		if one.health.Kind != "modbus-unit" {
			continue
		}
		cfg := &modbusv1.Unit{}
		if is, err := s.configInto(ctx, one.path, cfg); err == nil && is && cfg.Link == s.line {
			known[cfg.Unit] = one.path
		}
	}
	return known, nil
}

// heard takes in how far the scan has come.
func (s *scan) heard(m bus.Msg) error {
	r := &modbusv1.ScanResponse{}
	if err := m.Decode(r); err != nil {
		return err
	}
	s.asked, s.total = r.Asked, r.Total
	if r.Found != nil {
		s.found = append(s.found, r.Found)
		if s.asJSON {
			text, err := bus.Marshal(bus.JSON, r.Found)
			if err == nil {
				_, err = fmt.Fprintln(s.out, string(compact(text)))
			}
			return err
		}
	}
	at := ""
	if r.Baud > 0 {
		at = fmt.Sprintf(" at %d Bd, parity %s", r.Baud, r.Parity)
	}
	s.show(fmt.Sprintf("%d of %d addresses%s, %s found", r.Asked, r.Total, at, counted(len(s.found), "unit")))
	return nil
}

// show shows the progress on a terminal, in a line that the next one replaces.
func (s *scan) show(text string) {
	if isTerminal(s.progress) {
		fmt.Fprint(s.progress, "\r\x1b[K"+text)
	}
}

// print prints what was found, and what the config needs.
func (s *scan) print() error {
	p := painter(s.out)
	head := plain("UNIT", "SAID", "TOOK", "IS", "PROFILE", "CONFIG")
	tuned := s.found[0].Baud > 0
	if tuned {
		head = append(head, plain("SETTING")...)
	}
	rows := [][]cell{head}
	for _, f := range s.found {
		said, colour := "answered", green
		if f.Said != "" {
			said, colour = f.Said, yellow
		}
		row := []cell{
			{text: strconv.Itoa(int(f.Unit))}, {said, colour}, {text: f.Took.AsDuration().Round(time.Millisecond).String()},
			{text: identity(f)}, {text: strings.Join(f.Profiles, ", ")}, {text: s.known[f.Unit]},
		}
		if tuned {
			row = append(row, cell{text: setting(f)})
		}
		rows = append(rows, row)
	}
	if err := table(s.out, p, rows); err != nil {
		return err
	}
	_, err := io.WriteString(s.out, s.snippet())
	return err
}

func setting(f *modbusv1.FoundUnit) string { return fmt.Sprintf("%d Bd, parity %s", f.Baud, f.Parity) }

// identity is what the unit says it is, in one line.
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
	if len(text) > widest {
		text = append(text[:widest-1], '…')
	}
	return strings.Map(printable, string(text))
}

// snippet is what the config needs for the units that it does not have.
func (s *scan) snippet() string {
	var b strings.Builder
	group := ""
	if i := strings.LastIndex(s.line, "/"); i >= 0 {
		group = strings.ReplaceAll(s.line[:i], "/", ".") + "."
	}
	for _, f := range s.found {
		if s.known[f.Unit] != "" {
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
			b.WriteString("# profile = \"…\": none is known by its marks; see gatewayd read, and the list in the README of modbus-unit\n")
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
