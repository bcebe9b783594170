package device

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatewayd/cmd/gatewayd/client"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/protocols/modbus/points"
	"gatewayd/schemas"
)

// targetDoc explains how a unit is named, for the help of read and write.
const targetDoc = `UNIT is the path of a unit of a running gateway: the request goes through the queue
of its line, ahead of polls. Or it is the URL of a unit that is reached directly,
without a gateway; its line must not be in use then:

  tcp://10.0.0.5/7                            Modbus TCP (port 502), unit 7
  tls://plc.example/1?cert=F&key=F&ca=F       Modbus/TCP Security (port 802)
  udp://10.0.0.5/7                            the same frames over UDP
  rtu+tcp://10.0.0.5:4001/7                   RTU over TCP; also ascii+tcp, rtu+udp
  rtu:///dev/ttyUSB0/7?baud=9600&parity=even  a serial port; also ascii

AREA is coil, discrete-input, holding or input; the first letter is enough.
Addresses are counted from 0, as on the wire.`

// ReadCommand returns "read", which reads points or registers.
func ReadCommand(c *client.Client) *cobra.Command {
	l := &look{}
	cmd := &cobra.Command{
		Use:   "read UNIT [AREA ADDRESS [COUNT] | POINT...]",
		Short: "Read registers or points of a Modbus unit",
		Long: `Read registers or points of a Modbus unit once.

` + targetDoc + `

Without AREA and ADDRESS, read all points of the unit or those that are named. The
gateway's config defines the points, or the device profile given with --profile;
points that are computed from others are among them. COUNT is the number of values
of --type (default 1).`,
		Example: `  gatewayd read field/rs485-1/meter-7
  gatewayd read field/rs485-1/meter-7 voltage energy
  gatewayd read field/rs485-1/meter-7 holding 0 10 --type float32 --order cdab
  gatewayd read tcp://10.0.0.5/7 input 0 10
  gatewayd read rtu:///dev/ttyUSB0/1?baud=9600 --profile eastron-sdm630`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completePoint(c, l, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			return l.read(cmd, c, args)
		},
	}
	c.Flags(cmd)
	l.flags(cmd)
	return cmd
}

// look holds the flags of read and write.
type look struct {
	form
	profile string
	answer  time.Duration
}

func (l *look) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&l.kind, "type", "t", "", "data type of the registers: "+strings.Join(points.Types(), ", "))
	f.StringVar(&l.order, "order", "", "order of the received bytes: abcd (default), cdab, badc or dcba; for any length big-endian, word-swap, byte-swap or little-endian")
	f.IntVar(&l.length, "length", 0, "length of a string in registers")
	f.Float64Var(&l.scale, "scale", 0, "factor by which the raw number is multiplied")
	f.Float64Var(&l.offset, "offset", 0, "number added after that")
	f.StringVar(&l.profile, "profile", "", "device profile of a unit that is reached directly: a built-in name like eastron-sdm630, or a file")
	_ = cmd.RegisterFlagCompletionFunc("profile", CompleteProfile)
	client.Offer(cmd, "type", points.Types()...)
	client.Offer(cmd, "order", "abcd", "cdab", "badc", "dcba", "big-endian", "word-swap", "byte-swap", "little-endian")
	f.DurationVar(&l.answer, "answer", time.Second, "maximum time to wait for an answer of a unit that is reached directly")
}

func (l *look) check() error {
	if l.kind != "" {
		if p := (points.Point{Area: points.Holding, Type: l.kind, Length: l.length}); p.Registers() == 0 && l.kind != points.String && l.kind != points.Bytes {
			return exit.Usage("--type %q is not one of %s%s", l.kind, strings.Join(points.Types(), ", "), schemas.DidYouMean(l.kind, points.Types()))
		}
	}
	if l.answer <= 0 {
		return exit.Usage("--answer %s: want more than 0s", l.answer)
	}
	return nil
}

func (l *look) read(cmd *cobra.Command, c *client.Client, args []string) error {
	ctx := cmd.Context()
	if err := l.check(); err != nil {
		return err
	}
	s, placed, err := l.placed(args[1:])
	if err != nil {
		return err
	}
	d, err := deviceAt(ctx, c, args[0], l.profile, l.answer)
	if err != nil {
		return err
	}
	defer d.Close()
	if !placed {
		if s, err = named(ctx, d, args[1:]); err != nil {
			return err
		}
	}
	all, err := s.read(ctx, d)
	if err != nil {
		return err
	}
	failed, none := trouble(all)
	switch {
	case none:
	case c.AsJSON:
		err = readingsJSON(cmd.OutOrStdout(), all, s.named)
	default:
		err = printReadings(cmd.OutOrStdout(), all, s, l.form)
	}
	return cmp.Or(err, failed)
}

// placed parses AREA ADDRESS [COUNT]; ok is false if the arguments have another form.
func (l *look) placed(args []string) (s selection, ok bool, err error) {
	if len(args) == 0 {
		return s, false, nil
	}
	area, ok := areaOf(args[0])
	if !ok || len(args) == 1 || !digit(args[1]) { // a point may be named "input"
		return s, false, nil
	}
	count := 1
	if len(args) > 2 {
		if count, err = strconv.Atoi(args[2]); err != nil || count < 1 || count > 65536 {
			return s, true, exit.Usage("count %q is not within 1 to 65536", args[2])
		}
	}
	if len(args) > 3 {
		return s, true, exit.Usage("unexpected argument %q after area, address and count", args[3])
	}
	all, err := l.place(area, args[1], count)
	return selection{points: all}, true, err
}

func digit(text string) bool { return text != "" && text[0] >= '0' && text[0] <= '9' }

// named selects points by their names.
func named(ctx context.Context, d device, names []string) (selection, error) {
	known, err := d.points(ctx)
	if err != nil {
		return selection{}, err
	}
	return choose(known, names, "")
}
