package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"gatewayd/actors"
	"gatewayd/cmd/gatewayd/client"
	"gatewayd/cmd/gatewayd/files"
	"gatewayd/cmd/gatewayd/look"
	"gatewayd/cmd/gatewayd/terminal"
	"gatewayd/supervisor"
)

// redraw is the interval at which the live view is redrawn.
const redraw = 250 * time.Millisecond

// show shows the live view until ctx ends or q is pressed.
func (d *demo) show(ctx context.Context) error {
	n := newNews(d.units())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	screen := openScreen(d.out.(*os.File), cancel)
	defer screen.close()
	ended := make(chan error, 1)
	go func() { ended <- d.keepRunning(ctx, n) }()
	clock := time.NewTicker(redraw)
	defer clock.Stop()
	begin := time.Now()
	for {
		select {
		case err := <-ended:
			screen.close()
			return err
		case <-ctx.Done():
			screen.close()
			return <-ended
		case now := <-clock.C:
			width, height := screen.size()
			n.mu.Lock()
			lines := frame(n, d.hints(), "mqtt://"+d.mqtt, height, now, now.Sub(begin))
			n.mu.Unlock()
			screen.draw(lines, width)
		}
	}
}

// vital is the number of lines of hints that a small terminal shows before it shows recent news:
// their title, and how to listen by NATS and by MQTT and to call an actor.
const vital = 1 + 3

// frame returns the live view as lines of cells. The caller holds n.mu.
func frame(n *news, hints []string, mqtt string, height int, now time.Time, up time.Duration) [][]terminal.Cell {
	head := []terminal.Cell{{Text: "gatewayd demo", Colour: terminal.Bold}, {Text: "  "}}
	if root := n.health[supervisor.Root]; root != nil {
		head = append(head, terminal.HealthCell(root.State))
	}
	head = append(head, terminal.Cell{Text: fmt.Sprintf("  up %s  q quits", terminal.Age(up)), Colour: terminal.Dim})
	if n.gateway > 1 && n.boot != nil {
		head = append(head, terminal.Cell{Text: fmt.Sprintf("  last end: %s by %s", n.boot.LastEnd, n.boot.Who), Colour: terminal.Yellow})
	}
	foot := [][]terminal.Cell{{{Text: "Try", Colour: terminal.Bold}, {Text: fmt.Sprintf("  (bus nats://%s, %s)", n.address, mqtt), Colour: terminal.Dim}}}
	for _, h := range hints {
		foot = append(foot, []terminal.Cell{{Text: "  " + h}})
	}
	tree := treeRows(n, false, now)
	if len(tree)+len(foot)+6 > height {
		tree = treeRows(n, true, now)
	}
	lines := append([][]terminal.Cell{head}, tree...)
	room := height - len(lines) - len(foot)
	for room < 3 && len(foot) > vital || room < 2 && len(foot) > 0 { // a small terminal
		room++
		foot = foot[:len(foot)-1]
	}
	lines = append(lines, eventRows(n.lines, room)...)
	lines = append(lines, foot...)
	return lines[:min(len(lines), height)]
}

// treeRows returns the supervision tree. A small one puts the actors every gateway has into one
// line while they are ok, and into another line the top-level names below which all is ok and there
// are no values to show.
func treeRows(n *news, small bool, now time.Time) [][]terminal.Cell {
	rows := [][]terminal.Cell{{{Text: fmt.Sprintf("%-20s%-15s%6s  %s", "NAME", "HEALTH", "MSG/S", "LAST VALUES OR FAULT"), Colour: terminal.Bold}}}
	short := small
	var system, others []client.Standing
	for _, s := range n.standings() {
		switch p := client.Place(s.Path); {
		case p == 0:
		case p <= len(files.Implicit):
			system = append(system, s)
			short = short && s.Health.State == actors.OK
		default:
			others = append(others, s)
		}
	}
	var quiet []string
	if small {
		others, quiet = folded(n, others)
	}
	shown := append(system, others...)
	if short {
		c := terminal.HealthCell(actors.OK)
		rows = append(rows, []terminal.Cell{{Text: pad("├─ "+strings.Join(files.Implicit, " "), 20)}, c})
		shown = others
	}
	for i, name := range client.Branches(append([]string{supervisor.Root}, client.PathsOf(shown)...), "")[1:] {
		rows = append(rows, treeRow(n, shown[i], name, now))
	}
	if len(quiet) > 0 {
		c := terminal.HealthCell(actors.OK)
		rows = append(rows, []terminal.Cell{
			{Text: pad(fmt.Sprintf("and %d more", len(quiet)), 20), Colour: terminal.Dim}, {Text: pad(c.Text, 15), Colour: c.Colour}, {Text: pad("", 8)},
			{Text: strings.Join(quiet, ", "), Colour: terminal.Dim},
		})
	}
	return rows
}

// folded leaves out everything below top-level names where all is ok and nothing has values to
// show. quiet are these names.
func folded(n *news, all []client.Standing) (rest []client.Standing, quiet []string) {
	top := func(s client.Standing) string { first, _, _ := strings.Cut(s.Path, "/"); return first }
	open := map[string]bool{}
	for _, s := range all {
		if s.Health.State != actors.OK || n.values[s.Path] != nil || n.uplinks[s.Path] != nil {
			open[top(s)] = true
		}
	}
	for _, s := range all {
		switch {
		case open[top(s)]:
			rest = append(rest, s)
		case s.Path == top(s):
			quiet = append(quiet, s.Path)
		}
	}
	return rest, quiet
}

func treeRow(n *news, s client.Standing, name string, now time.Time) []terminal.Cell {
	c := terminal.HealthCell(s.Health.State)
	row := []terminal.Cell{{Text: pad(name, 20)}, {Text: pad(c.Text, 15), Colour: c.Colour}}
	rate := ""
	if t := n.traffic[s.Path]; t != nil {
		rate = fmt.Sprintf("%.1f", t.rate(now))
	}
	row = append(row, terminal.Cell{Text: fmt.Sprintf("%6s  ", rate), Colour: terminal.Dim})
	text, good := look.ValuesText(n.values[s.Path], n.units[s.Path])
	if u := n.uplinks[s.Path]; u != nil {
		if text = look.UplinkText(u); s.Health.State != actors.OK && s.Health.Cause != "" {
			return append(row, terminal.Cell{Text: text + "  " + s.Health.Cause, Colour: c.Colour})
		}
	}
	switch {
	case s.Health.State != actors.OK && s.Health.Cause != "" && s.Health.Kind != "group":
		return append(row, terminal.Cell{Text: s.Health.Cause, Colour: c.Colour})
	case !good:
		return append(row, terminal.Cell{Text: text, Colour: terminal.Yellow})
	}
	return append(row, terminal.Cell{Text: text})
}

// eventRows returns the last lines of news that fit into room lines.
func eventRows(lines []look.NewsLine, room int) [][]terminal.Cell {
	if room < 2 {
		return nil
	}
	rows := [][]terminal.Cell{{{Text: "Recent events:", Colour: terminal.Bold}}}
	for _, l := range lines[max(0, len(lines)-room+1):] {
		rows = append(rows, []terminal.Cell{{Text: "  " + l.At.Local().Format(time.TimeOnly) + " ", Colour: terminal.Dim}, {Text: l.Who + " "}, {Text: l.What, Colour: l.Colour}})
	}
	for len(rows) < room {
		rows = append(rows, nil)
	}
	return rows
}

func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}

// screen is the alternate screen of the terminal, which leaves the normal one untouched.
type screen struct {
	out   *os.File
	p     terminal.Paint
	saved *unix.Termios
	last  string
}

func openScreen(out *os.File, quit func()) *screen {
	s := &screen{out: out, p: terminal.Painter(out)}
	if t, err := unix.IoctlGetTermios(int(os.Stdin.Fd()), unix.TCGETS); err == nil {
		s.saved = t
		quiet := *t
		quiet.Lflag &^= unix.ECHO | unix.ICANON // keys are not echoed; Ctrl-C remains a signal
		_ = unix.IoctlSetTermios(int(os.Stdin.Fd()), unix.TCSETS, &quiet)
		go func() {
			for key := make([]byte, 1); ; {
				if _, err := os.Stdin.Read(key); err != nil || key[0] == 'q' {
					quit()
					return
				}
			}
		}()
	}
	_, _ = io.WriteString(out, "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J")
	return s
}

// close restores the terminal. It may be called twice.
func (s *screen) close() {
	if s.out == nil {
		return
	}
	_, _ = io.WriteString(s.out, "\x1b[?7h\x1b[?25h\x1b[?1049l")
	if s.saved != nil {
		_ = unix.IoctlSetTermios(int(os.Stdin.Fd()), unix.TCSETS, s.saved)
	}
	s.out = nil
}

func (s *screen) size() (width, height int) {
	ws, err := unix.IoctlGetWinsize(int(s.out.Fd()), unix.TIOCGWINSZ)
	if err != nil || ws.Col == 0 || ws.Row == 0 {
		return 80, 24
	}
	return int(ws.Col), int(ws.Row)
}

// draw draws lines, unless they are shown already.
func (s *screen) draw(lines [][]terminal.Cell, width int) {
	var b strings.Builder
	b.WriteString("\x1b[H")
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(s.fit(line, width) + "\x1b[K")
	}
	b.WriteString("\x1b[J")
	if text := fmt.Sprint(width) + b.String(); text != s.last {
		s.last = text
		_, _ = io.WriteString(s.out, b.String())
	}
}

// fit returns a line in colour, cut to the width.
func (s *screen) fit(line []terminal.Cell, width int) string {
	var b strings.Builder
	for _, c := range line {
		text := []rune(strings.Map(terminal.Printable, c.Text))
		if len(text) > width {
			text = append(text[:max(0, width-1)], '…')
		}
		width -= len(text)
		b.WriteString(s.p.In(c.Colour, string(text)))
		if width <= 0 {
			break
		}
	}
	return b.String()
}
