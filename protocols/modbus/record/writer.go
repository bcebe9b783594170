package record

import (
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Writer writes a recording, with one Write to the file per entry, so that entries are not lost in
// a buffer when the power fails.
type Writer struct {
	w    io.Writer
	line []byte
	last time.Duration
}

// NewWriter returns a Writer. It writes the header.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	var b strings.Builder
	b.WriteString(magic + strconv.Itoa(version) + "\n")
	if !h.Began.IsZero() {
		b.WriteString("began " + h.Began.UTC().Format(time.RFC3339Nano) + "\n")
	}
	for _, f := range []struct{ word, value string }{
		{"link", plain(h.Link)}, {"framing", h.Framing.String()}, {"transport", plain(h.Transport)}, {"baud", number(h.Baud)}, {"bits", number(h.Bits)},
	} {
		if f.value != "" {
			b.WriteString(f.word + " " + f.value + "\n")
		}
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return nil, fmt.Errorf("write the header of a recording: %w", err)
	}
	return &Writer{w: w}, nil
}

func number(n int) string {
	if n <= 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// plain makes a text fit on one line.
func plain(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text))
}

// Write appends an entry. If its time is before that of the last one, it gets the time of that one.
func (w *Writer) Write(e Entry) error {
	w.last = max(w.last, e.At)
	e.At = w.last
	b, err := Append(w.line[:0], e)
	if err != nil {
		return fmt.Errorf("write to a recording: %w", err)
	}
	w.line = append(b, '\n')
	if len(w.line) > longest {
		return fmt.Errorf("write to a recording: a line of %d bytes is too long", len(w.line))
	}
	if _, err := w.w.Write(w.line); err != nil {
		return fmt.Errorf("write to a recording: %w", err)
	}
	return nil
}

// Remark writes a comment line.
func (w *Writer) Remark(text string) error {
	if _, err := io.WriteString(w.w, "# "+plain(text)+"\n"); err != nil {
		return fmt.Errorf("write to a recording: %w", err)
	}
	return nil
}

// Append appends an entry as a line, without the line end.
func Append(b []byte, e Entry) ([]byte, error) {
	if int(e.Direction) >= len(directions) || e.At < 0 {
		return b, fmt.Errorf("no entry has direction %d at %v", e.Direction, e.At)
	}
	b = strconv.AppendInt(b, int64(e.At/time.Second), 10)
	b = fmt.Appendf(b, ".%09d", e.At%time.Second)
	for range 3 { // microseconds, unless more digits are needed
		if b[len(b)-1] != '0' {
			break
		}
		b = b[:len(b)-1]
	}
	b = append(append(append(b, ' '), directions[e.Direction]...), ' ')
	if len(e.Bytes) == 0 {
		b = append(b, '-')
	}
	b = hex.AppendEncode(b, e.Bytes)
	if word := e.Mark.String(); word != "" {
		b = append(append(b, ' '), word...)
	}
	if note := plain(e.Note); note != "" {
		b = append(append(b, " # "...), note...)
	}
	return b, nil
}
