package main

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

// paint colours text for a terminal; the zero value leaves it as it is.
type paint struct{ on bool }

// painter colours only what goes to a terminal whose user has not said no.
func painter(w io.Writer) paint {
	return paint{isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// The colours that are used: SGR parameters.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	blue   = "34"
)

func (p paint) in(colour, text string) string {
	if !p.on || text == "" || colour == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// cell is a text and its colour.
type cell struct{ text, colour string }

// widthOf is how many columns a terminal has; 0 for what is none.
func widthOf(w io.Writer) int {
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

// table writes rows in aligned columns, the first one in bold. On a terminal the
// last column goes on below itself where it is too long.
func table(w io.Writer, p paint, rows [][]cell) error { return columns(w, p, rows, widthOf(w), wrap) }

// columns writes rows; fit makes the lines of a text in the last column. width 0:
// there is no end.
func columns(w io.Writer, p paint, rows [][]cell, width int, fit func(text string, width int) []string) error {
	widths := widthsOf(rows)
	out := bufio.NewWriter(w)
	for n, row := range rows {
		var line strings.Builder
		at := 0
		for i, c := range row {
			if n == 0 {
				c.colour = bold
			}
			if i < len(row)-1 {
				line.WriteString(p.in(c.colour, c.text) + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text)+2))
				at += widths[i] + 2
				continue
			}
			for k, part := range fit(c.text, room(width, at)) {
				if k > 0 {
					line.WriteString("\n" + strings.Repeat(" ", at))
				}
				line.WriteString(p.in(c.colour, part))
			}
		}
		fmt.Fprintln(out, strings.TrimRight(line.String(), " "))
	}
	return out.Flush()
}

// widthsOf are the widths of all columns but the last of each row, which takes what room there is.
func widthsOf(rows [][]cell) (widths []int) {
	for _, row := range rows {
		for i, c := range row[:max(len(row)-1, 0)] {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	return widths
}

// narrowest is the least room a column gets: beyond it the terminal may break lines.
const narrowest = 20

// room is what is left of a line of this width from a column on; 0: no end.
func room(width, at int) int {
	if width == 0 {
		return 0
	}
	return max(width-at, narrowest)
}

// wrap breaks a text into lines of at most width, between words where it can.
func wrap(text string, width int) []string {
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

// cut ends a text at width.
func cut(text string, width int) []string {
	if all := []rune(text); width > 0 && len(all) > width {
		text = string(all[:width-1]) + "…"
	}
	return []string{text}
}

func plain(texts ...string) []cell {
	row := make([]cell, len(texts))
	for i, t := range texts {
		row[i].text = t
	}
	return row
}

// healthCell is a symbol and a word for a state of health.
func healthCell(state string) cell {
	switch state {
	case actors.OK:
		return cell{"● ok", green}
	case actors.Starting:
		return cell{"◌ starting", blue}
	case actors.Degraded:
		return cell{"◐ degraded", yellow}
	case actors.Unreachable:
		return cell{"○ unreachable", yellow}
	case actors.Quarantined:
		return cell{"■ quarantined", red}
	case actors.Bad:
		return cell{"✗ failed", red}
	case actors.Gone:
		return cell{"· stopped", dim}
	}
	return cell{text: state}
}

// levelColour is the colour of a level of healing.
func levelColour(level string) string {
	switch level {
	case "recovered":
		return green
	case "restart":
		return yellow
	case "":
		return ""
	}
	return red
}

// colours are what a terminal does not show as characters.
var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// linesOnTerminal is how many lines of a terminal a text takes; width 0: none is broken.
func linesOnTerminal(text string, width int) (n int) {
	for line := range strings.Lines(text) {
		n++
		if shown := utf8.RuneCountInString(strings.TrimSuffix(colours.ReplaceAllString(line, ""), "\n")); width > 0 && shown > width {
			n += (shown - 1) / width
		}
	}
	return n
}
