package device

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gatewayd/actors/modbusunit"
	"gatewayd/cmd/gatewayd/client"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/protocols/modbus/points"
)

// WriteCommand returns "write", which writes a point or registers.
func WriteCommand(c *client.Client) *cobra.Command {
	l := &look{}
	cmd := &cobra.Command{
		Use:   "write UNIT {AREA ADDRESS VALUE... | POINT VALUE}",
		Short: "Write registers, coils or a point of a Modbus unit",
		Long: `Write registers, coils or a point of a Modbus unit, once: a write that is not
answered is not repeated, and may or may not have been carried out. Function 6 or
5 writes a single register or coil, function 16 or 15 writes several.

` + targetDoc + `

Coils are on or off. The type, order and scale of a point come from the gateway's
config, or from --profile. A point with labels accepts a label as well, a point
with flags the names of the flags to set, separated by commas. Before a negative
value, write -- in front of the unit.`,
		Example: `  gatewayd write field/rs485-1/meter-7 holding 5 42
  gatewayd write field/plc/mixer coil 0 on
  gatewayd write field/plc/mixer speed 900
  gatewayd write field/plc/mixer mode running
  gatewayd write --type float32 -- tcp://10.0.0.5/7 holding 20 -1.5`,
		Args:              cobra.MinimumNArgs(3),
		ValidArgsFunction: completePoint(c, l, true),
		RunE: func(cmd *cobra.Command, args []string) error {
			return l.write(cmd, c, args)
		},
	}
	c.Flags(cmd)
	l.flags(cmd)
	return cmd
}

func (l *look) write(cmd *cobra.Command, c *client.Client, args []string) error {
	ctx := cmd.Context()
	if err := l.check(); err != nil {
		return err
	}
	area, ok := areaOf(args[1])
	if ok && len(args) > 3 {
		job, err := l.job(area, args[2], args[3:])
		if err != nil {
			return err
		}
		return reach(ctx, c, args[0], l, func(d device) error {
			if err := d.write(ctx, job.area, job.address, job.quantity, job.data); err != nil {
				return err
			}
			return tell(c, cmd, d, fmt.Sprintf("%s %d", job.area, job.address), strings.Join(args[3:], " "))
		})
	}
	if len(args) > 3 {
		return exit.Usage("%q is not an area: want %s; a point takes one value", args[1], strings.Join(areas, ", "))
	}
	return reach(ctx, c, args[0], l, func(d device) error {
		if err := setPoint(ctx, d, args[1], args[2]); err != nil {
			return err
		}
		return tell(c, cmd, d, args[1], args[2])
	})
}

// reach connects to a unit while use runs.
func reach(ctx context.Context, c *client.Client, name string, l *look, use func(device) error) error {
	d, err := deviceAt(ctx, c, name, l.profile, l.answer)
	if err != nil {
		return err
	}
	defer d.Close()
	return use(d)
}

// tell prints that the unit has confirmed the write, or that nobody confirms a broadcast.
func tell(c *client.Client, cmd *cobra.Command, d device, where, what string) error {
	text := fmt.Sprintf("%s: %s, confirmed by the unit", where, what)
	switch {
	case c.AsJSON:
		text = "{}"
	case d.broadcast(cmd.Context()):
		text = fmt.Sprintf("%s: %s, sent to all units of the line; broadcasts are not confirmed", where, what)
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), text)
	return err
}

// job is one write.
type job struct {
	area              string
	address, quantity uint16
	data              []byte
}

// job encodes the values of a write to AREA ADDRESS.
func (l *look) job(area, first string, values []string) (job, error) {
	f := l.form
	if f.kind == points.String && f.length == 0 && len(values) == 1 {
		f.length = max((len(values[0])+1)/2, 1)
	}
	all, err := f.place(area, first, len(values))
	if err != nil {
		return job{}, err
	}
	j := job{area: area, address: all[0].Address, quantity: uint16(len(values))}
	var bits []bool
	for i, p := range all {
		v, err := valueIn(p, values[i])
		if err != nil {
			return j, err
		}
		data, err := p.Encode(v)
		switch {
		case errors.Is(err, points.ErrPartial):
			return j, exit.Usage("--type %s fills only part of a register: write the whole register", f.kind)
		case err != nil:
			return j, exit.Usage("%s", strings.TrimPrefix(err.Error(), fmt.Sprintf("point %q: ", p.Name)))
		}
		j.data = append(j.data, data...)
		bits = append(bits, data[0]&1 == 1)
	}
	if all[0].Bits() {
		j.data = packed(bits)
		return j, most(len(values), 1968)
	}
	j.quantity = uint16(len(j.data) / 2)
	return j, most(len(j.data)/2, 123)
}

func most(n, limit int) error {
	if n > limit {
		return exit.Usage("%d values are too many: one request writes at most %d", n, limit)
	}
	return nil
}

// setPoint writes a point by its name.
func setPoint(ctx context.Context, d device, name, text string) error {
	known, err := d.points(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(known.Computed, func(c modbusunit.Computed) bool { return c.Name == name }) {
		return exit.Usage("point %s is computed and cannot be written", name)
	}
	s, err := choose(known, []string{name}, " and the values")
	if err != nil {
		return err
	}
	p := s.points[0]
	if _, alone := d.(*direct); alone && p.ScaleFrom != "" {
		if p, err = s.scaled(ctx, d); err != nil {
			return err
		}
	}
	v, err := valueIn(p, text)
	if err != nil {
		return err
	}
	return d.set(ctx, p, v)
}

// scaled returns the first point with the scale that another point holds now.
func (s selection) scaled(ctx context.Context, d device) (points.Point, error) {
	i := slices.IndexFunc(s.points, func(p points.Point) bool { return p.Name == s.points[0].ScaleFrom })
	if i < 0 {
		return s.points[0], fmt.Errorf("point %s: point %q, which holds its scale, does not exist", s.points[0].Name, s.points[0].ScaleFrom)
	}
	by := selection{points: []points.Point{s.points[i]}, limits: s.limits, named: true}
	all, err := by.read(ctx, d)
	if err == nil {
		err, _ = trouble(all)
	}
	if err != nil {
		return s.points[0], err
	}
	return s.points[0].Rescaled(all[0].value)
}

// valueIn parses text as a value of the point.
func valueIn(p points.Point, text string) (points.Value, error) {
	var names []points.Label
	if p.Finish != nil {
		names = slices.Concat(p.Finish.Labels, p.Finish.Flags)
	}
	if called(names, text) {
		return points.Text(text), nil
	}
	switch p.Type {
	case points.Bool:
		switch strings.ToLower(text) {
		case "on", "true", "1":
			return points.Flag(true), nil
		case "off", "false", "0":
			return points.Flag(false), nil
		}
		if len(names) > 0 {
			return points.Text(text), nil
		}
		return points.Value{}, exit.Usage("%q is neither on nor off", text)
	case points.String, points.Unix32, points.Unix64, points.CP56, points.BCDTime, points.Fields:
		return points.Text(text), nil
	case points.Bytes:
		return points.Value{}, exit.Usage("values of --type bytes cannot be written: use uint16")
	}
	if i, err := strconv.ParseInt(text, 0, 64); err == nil {
		return points.Integer(i), nil
	}
	if u, err := strconv.ParseUint(text, 0, 64); err == nil {
		return points.Unsigned(u), nil
	}
	f, err := strconv.ParseFloat(text, 64)
	switch {
	case err == nil && !math.IsNaN(f) && !math.IsInf(f, 0):
		return points.Number(f), nil
	case len(names) > 0:
		return points.Text(text), nil
	}
	return points.Value{}, exit.Usage("%q is not a number", text)
}

// called reports whether text is a label of a value and not also a number that has a label itself.
// Where 2 has the label 9600, 9600 means 2; where 0 has the label on, on means 0.
func called(names []points.Label, text string) bool {
	is := func(l points.Label) bool { return strings.EqualFold(l.Text, text) }
	number := func(l points.Label) bool { return strconv.FormatInt(l.Value, 10) == text }
	return slices.ContainsFunc(names, is) && !slices.ContainsFunc(names, number)
}
