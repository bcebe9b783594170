// Package terminal formats the output of the commands for people: colours, tables that fit the
// terminal, payloads, durations and sizes. It also asks for passwords.
package terminal

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"gatewayd/actors"
)

// Paint colours text for a terminal. The zero value does not.
type Paint struct{ on bool }

// Painter returns a Paint that colours if w is a terminal and the user has not turned colours off.
func Painter(w io.Writer) Paint {
	return Paint{Is(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

// Is reports whether w is a terminal.
func Is(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// The colours in use, as SGR parameters.
const (
	Bold   = "1"
	Dim    = "2"
	Red    = "31"
	Green  = "32"
	Yellow = "33"
	Blue   = "34"
)

// In returns text in a colour, if p colours.
func (p Paint) In(colour, text string) string {
	if !p.on || text == "" || colour == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// Cell is a text and its colour.
type Cell struct{ Text, Colour string }

// Width returns the number of columns of a terminal; 0 if w is none.
func Width(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(ws.Col)
}

// Table writes rows in aligned columns, the first row in bold. On a terminal a last column that is
// too long is wrapped within its column.
func Table(w io.Writer, p Paint, rows [][]Cell) error { return Columns(w, p, rows, Width(w), Wrap) }

// Columns writes rows as Table does. fit breaks the text of the last column into lines. A width of
// 0 means no limit.
func Columns(w io.Writer, p Paint, rows [][]Cell, width int, fit func(text string, width int) []string) error {
	widths := widthsOf(rows)
	out := bufio.NewWriter(w)
	for n, row := range rows {
		var line strings.Builder
		at := 0
		for i, c := range row {
			if n == 0 {
				c.Colour = Bold
			}
			if i < len(row)-1 {
				line.WriteString(p.In(c.Colour, c.Text) + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.Text)+2))
				at += widths[i] + 2
				continue
			}
			for k, part := range fit(c.Text, Room(width, at)) {
				if k > 0 {
					line.WriteString("\n" + strings.Repeat(" ", at))
				}
				line.WriteString(p.In(c.Colour, part))
			}
		}
		fmt.Fprintln(out, strings.TrimRight(line.String(), " "))
	}
	return out.Flush()
}

// widthsOf returns the widths of the columns, without the last cell of each row, which takes the
// rest of the line.
func widthsOf(rows [][]Cell) (widths []int) {
	for _, row := range rows {
		for i, c := range row[:max(len(row)-1, 0)] {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.Text))
		}
	}
	return widths
}

// narrowest is the least width a column gets, even if the terminal then breaks lines.
const narrowest = 20

// Room returns how much of a line of this width is left from a column on; 0: no limit.
func Room(width, at int) int {
	if width == 0 {
		return 0
	}
	return max(width-at, narrowest)
}

// Wrap breaks a text into lines of at most width, between words if possible.
func Wrap(text string, width int) []string {
	rest := []rune(text)
	if width == 0 || len(rest) <= width {
		return []string{text}
	}
	var lines []string
	for len(rest) > width {
		end := width
		for end > width/2 && rest[end] != ' ' {
			end--
		}
		if rest[end] != ' ' {
			end = width
		}
		lines = append(lines, strings.TrimRight(string(rest[:end]), " "))
		for rest = rest[end:]; len(rest) > 0 && rest[0] == ' '; {
			rest = rest[1:]
		}
	}
	return append(lines, string(rest))
}

// Cut cuts a text at width.
func Cut(text string, width int) []string {
	if all := []rune(text); width > 0 && len(all) > width {
		text = string(all[:width-1]) + "…"
	}
	return []string{text}
}

// Row returns a row of texts without colour.
func Row(texts ...string) []Cell {
	row := make([]Cell, len(texts))
	for i, t := range texts {
		row[i].Text = t
	}
	return row
}

// HealthCell returns the symbol and word for a state of health.
func HealthCell(state string) Cell {
	switch state {
	case actors.OK:
		return Cell{"● ok", Green}
	case actors.Starting:
		return Cell{"◌ starting", Blue}
	case actors.Degraded:
		return Cell{"◐ degraded", Yellow}
	case actors.Unreachable:
		return Cell{"○ unreachable", Yellow}
	case actors.Quarantined:
		return Cell{"■ quarantined", Red}
	case actors.Bad:
		return Cell{"✗ failed", Red}
	case actors.Gone:
		return Cell{"· stopped", Dim}
	}
	return Cell{Text: state}
}

// LevelColour returns the colour of a level of healing.
func LevelColour(level string) string {
	switch level {
	case "recovered":
		return Green
	case "restart":
		return Yellow
	case "":
		return ""
	}
	return Red
}

// colours matches the sequences that take no room on a terminal.
var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// Lines returns how many lines of a terminal a text takes; with width 0 no line is broken.
func Lines(text string, width int) (n int) {
	for line := range strings.Lines(text) {
		n++
		if shown := utf8.RuneCountInString(strings.TrimSuffix(colours.ReplaceAllString(line, ""), "\n")); width > 0 && shown > width {
			n += (shown - 1) / width
		}
	}
	return n
}
