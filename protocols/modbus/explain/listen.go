package explain

import (
	"context"
	"fmt"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/record"
)

// TapReader receives the frames that pass a tap, and explains them.
type TapReader struct {
	*modbus.TapReader
	tap    *modbus.Tap
	reader Reader
}

// Listen returns a TapReader that receives the frames selected by filter from now on. If kept is
// true, it first receives the matching frames that the tap has kept.
func Listen(tap *modbus.Tap, filter modbus.Filter, kept bool) (*TapReader, error) {
	ear, err := tap.Listen(filter, kept)
	if err != nil {
		return nil, err
	}
	return &TapReader{TapReader: ear, tap: tap}, nil
}

// Framing returns the framing of the frames.
func (e *TapReader) Framing() modbus.Framing { return e.tap.Framing() }

// Next waits for the next frame. Its error is that of ctx.
func (e *TapReader) Next(ctx context.Context) (Line, error) {
	f, err := e.TapReader.Next(ctx)
	if err != nil {
		return Line{}, err
	}
	return e.reader.Explain(e.Framing(), f), nil
}

// Excerpt is what a tap has kept, in the form of a recording.
type Excerpt struct {
	Framing string
	Began   time.Time // time of the first frame
	Lines   []string
}

// Last returns what a tap has kept. A nil tap has kept nothing.
func Last(tap *modbus.Tap) (x Excerpt) {
	frames := tap.Last()
	if len(frames) == 0 {
		return x
	}
	framing := tap.Framing()
	x.Framing, x.Began = framing.String(), frames[0].At
	var r Reader
	for _, f := range frames {
		line, err := record.Append(nil, record.Entry{
			At: max(0, f.At.Sub(x.Began)).Round(time.Microsecond), Direction: f.Direction, Bytes: f.Bytes, Mark: f.Mark, Note: Note(r.Explain(framing, f)),
		})
		if err == nil {
			x.Lines = append(x.Lines, string(line))
		}
	}
	return x
}

// Note describes a line briefly, as in a recording.
func Note(l Line) string {
	text := l.Text
	if l.Unit != 0 || l.Function != 0 {
		text = fmt.Sprintf("unit %d: %s", l.Unit, text)
	}
	if l.Size > len(l.Bytes) {
		text += fmt.Sprintf(" (%d bytes)", l.Size)
	}
	return text
}
