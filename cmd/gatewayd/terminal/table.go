// Package terminal is how the commands show things to people: colours, tables that
// fit, payloads on a line, amounts in words; and how it asks them for a password.
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

// Paint colours text for a terminal; the zero value leaves it as it is.
type Paint struct{ on bool }

// Painter colours only what goes to a terminal whose user has not said no.
func Painter(w io.Writer) Paint {
	return Paint{Is(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

// Is says whether w is a terminal.
func Is(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// The colours that are used: SGR parameters.
const (
	Bold   = "1"
	Dim    = "2"
	Red    = "31"
	Green  = "32"
	Yellow = "33"
	Blue   = "34"
)

// In is a text in a colour, if there are colours.
func (p Paint) In(colour, text string) string {
	if !p.on || text == "" || colour == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// Cell is a text and its colour.
type Cell struct{ Text, Colour string }

// Width is how many columns a terminal has; 0 for what is none.
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

// Table writes rows in aligned columns, the first one in bold. On a terminal the
// last column goes on below itself where it is too long.
func Table(w io.Writer, p Paint, rows [][]Cell) error { return Columns(w, p, rows, Width(w), Wrap) }

// Columns writes rows; fit makes the lines of a text in the last column. width 0:
// there is no end.
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

// widthsOf are the widths of all columns but the last of each row, which takes what room there is.
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

// narrowest is the least room a column gets: beyond it the terminal may break lines.
const narrowest = 20

// Room is what is left of a line of this width from a column on; 0: no end.
func Room(width, at int) int {
	if width == 0 {
		return 0
	}
	return max(width-at, narrowest)
}

// Wrap breaks a text into lines of at most width, between words where it can.
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

// Cut ends a text at width.
func Cut(text string, width int) []string {
	if all := []rune(text); width > 0 && len(all) > width {
		text = string(all[:width-1]) + "…"
	}
	return []string{text}
}

// Row is a row of texts without a colour.
func Row(texts ...string) []Cell {
	row := make([]Cell, len(texts))
	for i, t := range texts {
		row[i].Text = t
	}
	return row
}

// HealthCell is a symbol and a word for a state of health.
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

// LevelColour is the colour of a level of healing.
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

// colours are what a terminal does not show as characters.
var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// Lines is how many lines of a terminal a text takes; width 0: none is broken.
func Lines(text string, width int) (n int) {
	for line := range strings.Lines(text) {
		n++
		if shown := utf8.RuneCountInString(strings.TrimSuffix(colours.ReplaceAllString(line, ""), "\n")); width > 0 && shown > width {
			n += (shown - 1) / width
		}
	}
	return n
}
