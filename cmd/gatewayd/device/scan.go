package device

import (
	"context"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"gatewayd/bus"
	"gatewayd/cmd/gatewayd/client"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/cmd/gatewayd/terminal"
	"gatewayd/protocols/modbus/profiles"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// ScanCommand returns "scan", which finds the units on a line.
func ScanCommand(c *client.Client) *cobra.Command {
	s := &scan{Client: c}
	cmd := &cobra.Command{
		Use:   "scan LINE",
		Short: "Find the units on a Modbus line or link of a running gateway",
		Long: `Find the units on a line or link of a running gateway. Each address is asked for
one register; a unit that answers, if only with an exception, is present. It is
then asked to identify itself (functions 43/14 and 17, and the marks of known
profiles), and a profile is suggested. At the end the config is printed for units
that it does not have yet.

Polling continues: the scan takes its turn among the polls and delays a poll by
--wait at most. --baud and --parity try other settings of a serial line. Nothing
else can use the line meanwhile, so they need --suspend. The settings are restored
at the end, also if the scan is interrupted.`,
		Example: `  gatewayd scan field/rs485-1/line
  gatewayd scan field/rs485-1/line --units 1-20 --wait 500ms
  gatewayd scan field/rs485-1/line --units 1-10 --baud 9600,19200,38400 --parity none,even --suspend`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: s.CompleteWho(client.LinkService),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.out, s.progress = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return s.run(cmd.Context(), strings.Trim(args[0], "/"))
		},
	}
	s.Flags(cmd)
	f := cmd.Flags()
	f.StringVar(&s.units, "units", "1-247", "unit addresses to ask, like 1-20,42")
	f.DurationVar(&s.wait, "wait", 200*time.Millisecond, "maximum time to wait for each answer")
	f.UintSliceVar(&s.bauds, "baud", nil, "baud rates to try, like 9600,19200 (needs --suspend)")
	f.StringSliceVar(&s.parities, "parity", nil, "parities to try: none, even, odd (needs --suspend)")
	f.BoolVar(&s.suspend, "suspend", false, "suspend all other use of the line during the scan")
	client.Offer(cmd, "parity", "none", "even", "odd")
	f.StringArrayVar(&s.own, "profile", nil, "additional device profile to recognize units by (repeatable)")
	_ = cmd.RegisterFlagCompletionFunc("profile", CompleteProfile)
	return cmd
}

// knownUnit is a unit in the config.
type knownUnit struct{ path, profile string }

// scan holds the flags of a scan and what it has found.
type scan struct {
	*client.Client
	units    string
	wait     time.Duration
	bauds    []uint
	parities []string
	suspend  bool
	own      []string

	out, progress io.Writer
	line          string
	known         map[uint32]knownUnit // units of the config on this line, by address
	found         []*modbusv1.FoundUnit
	asked, total  uint32
}

func (s *scan) run(ctx context.Context, line string) error {
	if strings.Contains(line, "://") {
		return exit.Usage("%s is not an actor: name a line or link of a running gateway, like field/rs485-1/line", line)
	}
	request, err := s.request()
	if err != nil {
		return err
	}
	if err := s.Connect(ctx); err != nil {
		return err
	}
	defer s.Close()
	unit := &modbusv1.Unit{}
	switch is, err := s.ConfigInto(ctx, line, unit); {
	case err != nil:
		return s.Explain(err)
	case is:
		return exit.Usage("%s is a unit: scan its line or link instead: gatewayd scan %s", line, unit.Link)
	}
	s.line = line
	subject, err := s.Subject(line, "Scan")
	if err != nil {
		return err
	}
	if s.known, err = s.configured(ctx); err != nil {
		return err
	}
	err = s.Conn.Stream(ctx, subject, request, s.heard)
	s.show("")
	if !s.AsJSON && len(s.found) > 0 {
		if err := s.print(); err != nil {
			return err
		}
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted after %d of %d addresses, %s found", s.asked, s.total, terminal.Counted(len(s.found), "unit"))
	case err != nil:
		return s.Explain(err)
	case len(s.found) == 0:
		return fmt.Errorf("no unit answers on %s: %d addresses were asked; try --wait 1s, or other settings by --baud and --parity", line, s.asked)
	}
	return nil
}

// request returns the request that the flags describe.
func (s *scan) request() (*modbusv1.ScanRequest, error) {
	units, err := ParseUnits(s.units, 255)
	if err != nil {
		return nil, err
	}
	m := &modbusv1.ScanRequest{Wait: durationpb.New(s.wait), Parities: s.parities, Suspend: s.suspend}
	for _, u := range units {
		m.Units = append(m.Units, uint32(u))
	}
	for _, b := range s.bauds {
		if uint64(b) > math.MaxUint32 {
			return nil, exit.Usage("--baud %d is out of range", b)
		}
		m.Bauds = append(m.Bauds, uint32(b))
	}
	if (len(s.bauds) > 0 || len(s.parities) > 0) && !s.suspend {
		return nil, exit.Usage("--baud and --parity need --suspend: no unit is polled while other settings are tried")
	}
	for _, name := range append(profiles.Names(), s.own...) {
		p, err := Profile(name)
		if err != nil {
			return nil, err
		}
		for _, i := range p.Identify {
			m.Marks = append(m.Marks, &modbusv1.Mark{Profile: name, Identify: i})
		}
	}
	return m, nil
}

// configured returns the units that the gateway has on the line already, by address.
func (s *scan) configured(ctx context.Context) (map[uint32]knownUnit, error) {
	all, _, err := s.States(ctx)
	if err != nil {
		return nil, s.Explain(err)
	}
	known := map[uint32]knownUnit{}
	for _, one := range all {
		if one.Health.Kind != "modbus-unit" {
			continue
		}
		cfg := &modbusv1.Unit{}
		if is, err := s.ConfigInto(ctx, one.Path, cfg); err == nil && is && cfg.Link == s.line {
			known[cfg.Unit] = knownUnit{one.Path, cfg.Profile}
		}
	}
	return known, nil
}

// heard handles a progress report of the scan.
func (s *scan) heard(m bus.Msg) error {
	r := &modbusv1.ScanResponse{}
	if err := m.Decode(r); err != nil {
		return err
	}
	s.asked, s.total = r.Asked, r.Total
	if r.Found != nil {
		s.found = append(s.found, r.Found)
		s.doubt(r.Found)
		if s.AsJSON {
			text, err := bus.Marshal(bus.JSON, r.Found)
			if err == nil {
				_, err = fmt.Fprintln(s.out, string(terminal.Compact(text)))
			}
			return err
		}
	}
	at := ""
	if r.Baud > 0 {
		at = fmt.Sprintf(" at %d Bd, parity %s", r.Baud, r.Parity)
	}
	s.show(fmt.Sprintf("%d of %d addresses%s, %s found", r.Asked, r.Total, at, terminal.Counted(len(s.found), "unit")))
	return nil
}

// doubt warns if a unit has the identification marks of other devices than its profile in the
// config.
func (s *scan) doubt(f *modbusv1.FoundUnit) {
	has := s.known[f.Unit]
	if has.profile == "" || len(f.Profiles) == 0 || slices.ContainsFunc(f.Profiles, func(name string) bool {
		return strings.TrimSuffix(filepath.Base(name), ".toml") == has.profile
	}) {
		return
	}
	s.show("")
	fmt.Fprintf(s.progress, "gatewayd: %s has profile %q, but unit %d identifies itself as %s: is it another device?\n",
		has.path, has.profile, f.Unit, strings.Join(f.Profiles, ", "))
}

// show shows the progress on a terminal, in a line that the next call overwrites.
func (s *scan) show(text string) {
	if terminal.Is(s.progress) {
		fmt.Fprint(s.progress, "\r\x1b[K"+text)
	}
}
