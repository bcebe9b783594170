package look

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"gatewayd/bus"
	"gatewayd/cmd/gatewayd/client"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/cmd/gatewayd/terminal"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// tracing holds the flags of trace.
type tracing struct {
	unit, function int
	master         string
	count          int
	patience       time.Duration // 0: without end
	last           bool
	file           string
}

// TraceCommand returns "trace", which prints the frames of a line or link.
func TraceCommand(c *client.Client) *cobra.Command {
	var want tracing
	cmd := &cobra.Command{
		Use:   "trace PATH",
		Short: "Print the frames on a Modbus line or link, or those of masters",
		Long: `Print the frames on a Modbus line or link, one per line: the time, the time since
the previous frame, the direction (→ sent, ← received), the unit, the meaning of
the frame, and its bytes. A defect is marked in front of the meaning: crc, short,
noise, late (answers a request that was given up), stray (answers no request) or
cut (was not sent completely).

PATH is a line or link, or a unit, whose line or link is then traced for that
unit only. Tracing restarts nothing and does not delay polls.

PATH may also be a modbus-server or a modbus-gateway. The trace then shows the
requests of its masters (←) and the answers to them (→), preceded by the master;
--master selects one of them. This costs nothing while nobody traces.

With --record the frames are also written to a file, one line each, which is
readable and which gatewayd replay plays back. The command ends on Ctrl-C, after
--count frames, or after --timeout if given.`,
		Example: `  gatewayd trace field/rs485-1/line
  gatewayd trace field/rs485-1/line --unit 7 --function 3
  gatewayd trace field/rs485-1/meter-7 --last --record incident.txt
  gatewayd trace scada/server --master 10.0.0.20 --function 16`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: c.CompleteWho(client.LinkService, client.UnitService, client.MastersService),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case want.unit > 255 || want.function < 0 || want.function > 127:
				return exit.Usage("--unit is 0 to 255, --function 1 to 127")
			case want.count < 0:
				return exit.Usage("--count %d: want 1 or more, or 0 for no end", want.count)
			}
			if cmd.Flags().Changed("timeout") { // it bounds the trace; the requests before it get enough time
				want.patience, c.Timeout = c.Timeout, max(c.Timeout, 10*time.Second)
			}
			if err := c.Connect(cmd.Context()); err != nil {
				return err
			}
			defer c.Close()
			return trace(cmd.Context(), c, cmd.OutOrStdout(), args[0], want)
		},
	}
	c.Flags(cmd)
	f := cmd.Flags()
	f.IntVar(&want.unit, "unit", -1, "only frames to and from this unit address, 0 to 255")
	f.Lookup("unit").DefValue = "0" // what help shows as the default: none
	f.IntVar(&want.function, "function", 0, "only frames with this function code, 1 to 127")
	f.StringVar(&want.master, "master", "", "only frames of this master of a modbus-server or modbus-gateway: its role, or its address with or without the port")
	f.IntVarP(&want.count, "count", "n", 0, "number of frames to print before exiting; 0 for no limit")
	f.BoolVar(&want.last, "last", false, "start with the most recent frames, which are always kept")
	f.StringVar(&want.file, "record", "", "file to write the frames to as well; it must not exist yet")
	_ = cmd.MarkFlagFilename("record")
	return cmd
}

func trace(ctx context.Context, c *client.Client, w io.Writer, path string, want tracing) error {
	link, request, err := tapped(ctx, c, path, want)
	if err != nil {
		return err
	}
	var file *recorder
	if want.file != "" {
		if file, err = newRecorder(ctx, c, want.file, link); err != nil {
			return err
		}
		defer file.close()
	}
	subject, err := c.Subject(link, "Trace")
	if err != nil {
		return err
	}
	// The request carries no deadline: otherwise it would be chance whether this side or the link
	// ends the stream first.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begin, seen := time.Now(), 0
	if want.patience > 0 {
		defer time.AfterFunc(want.patience, cancel).Stop()
	}
	pr := tracePrinter{w: w, p: terminal.Painter(w), asJSON: c.AsJSON}
	err = c.Conn.Stream(ctx, subject, request, func(m bus.Msg) error {
		one := &modbusv1.TraceResponse{}
		if err := m.Decode(one); err != nil {
			return err
		}
		err := errors.Join(pr.print(one), file.take(one))
		if seen++; err == nil && want.count > 0 && seen >= want.count {
			return errEnough
		}
		return err
	})
	switch {
	case errors.Is(err, errEnough):
		err = nil
	case ctx.Err() == nil:
		err = c.Explain(err)
	case want.count > 0 && want.patience > 0 && time.Since(begin) >= want.patience:
		err = fmt.Errorf("%d of %d frames passed on %s within %s", seen, want.count, link, want.patience)
	case file.empty():
		err = fmt.Errorf("no frame passed on %s: %s is not written", link, want.file)
	default:
		err = nil
	}
	return errors.Join(err, file.close())
}

// tapped returns the line, link, server or gateway to trace for a path, and the request for it.
func tapped(ctx context.Context, c *client.Client, path string, want tracing) (where string, q proto.Message, err error) {
	link, masters := &modbusv1.TraceRequest{Function: uint32(want.function), Kept: want.last}, &modbusv1.MastersServiceTraceRequest{Function: uint32(want.function), Master: want.master}
	if want.unit >= 0 {
		link.Unit, masters.Unit = proto.Uint32(uint32(want.unit)), proto.Uint32(uint32(want.unit))
	}
	unit := &modbusv1.Unit{}
	is, err := c.ConfigAmong(ctx, path, unit, &modbusv1.Server{}, &modbusv1.Gateway{})
	if err != nil {
		return "", nil, c.Explain(err)
	}
	switch is.(type) {
	case *modbusv1.Server, *modbusv1.Gateway:
		if want.last || want.file != "" {
			return "", nil, exit.Usage("%s has many masters: --last and --record are only for a line or link", path)
		}
		return path, masters, nil
	case *modbusv1.Unit:
		path = unit.Link
		if want.unit < 0 {
			link.Unit = proto.Uint32(unit.Unit)
		}
	}
	if want.master != "" {
		return "", nil, exit.Usage("--master is for a modbus-server or a modbus-gateway: on %s only the gateway sends requests", path)
	}
	return path, link, nil
}

// tracePrinter prints frames, one line each.
type tracePrinter struct {
	w      io.Writer
	p      terminal.Paint
	asJSON bool
	missed uint64
}

// widestFrame is how many bytes of a frame are printed.
const widestFrame = 32

func (t *tracePrinter) print(m *modbusv1.TraceResponse) error {
	if t.asJSON {
		return printJSON(t.w, m)
	}
	if m.Missed > t.missed {
		fmt.Fprintln(t.w, t.p.In(terminal.Yellow, fmt.Sprintf("%d frames were lost because they arrived too fast to show", m.Missed-t.missed)))
		t.missed = m.Missed
	}
	f := m.Frame
	head := fmt.Sprintf("%s %10s", f.Time.AsTime().Local().Format("15:04:05.000000"), "+"+f.Gap.AsDuration().Round(time.Microsecond).String())
	text := frameText(f)
	if f.Master != "" {
		head += fmt.Sprintf("  %-21s", f.Master)
	}
	if bytes := f.Hex; bytes != "" {
		if len(bytes) > 2*widestFrame {
			bytes = bytes[:2*widestFrame] + "…"
		}
		text += "  " + t.p.In(terminal.Dim, bytes)
	}
	_, err := fmt.Fprintf(t.w, "%s  %s %s\n", t.p.In(terminal.Dim, head), arrows[f.Direction], t.p.In(frameColour(f), text))
	return err
}

var arrows = map[string]string{"sent": "→", "received": "←", "": "·"}

// frameText returns the text of a frame, with its unit and its mark.
func frameText(f *modbusv1.Frame) string {
	text := f.Text
	if f.Mark != "" && f.Direction != "" {
		text = f.Mark + ": " + text
	}
	if f.Unit != 0 || f.Function != 0 {
		text = fmt.Sprintf("unit %-3d %s", f.Unit, text)
	}
	return text
}

func frameColour(f *modbusv1.Frame) string {
	switch f.Mark {
	case "crc", "short", "noise", "cut", "lost":
		return terminal.Red
	case "late", "stray", "silent":
		return terminal.Yellow
	}
	return ""
}

// create creates a file that must not exist yet.
func create(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%s already exists: choose another name, or remove it", name)
	}
	return f, err
}
