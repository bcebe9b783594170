// Command gatewayd is the gateway daemon for industrial sites that nobody
// visits, and the tool to look into a running one.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func main() {
	runtime.MemProfileRate = 0 // nobody reads that profile, and its table takes a page for every place that allocates
	os.Exit(execute())
}

// execute runs the command line and returns the exit code.
func execute() int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		for begin := time.Now(); time.Since(begin) < time.Second; {
			<-signals // one signal that reaches a process twice is no impatience
		}
		fmt.Fprintln(os.Stderr, "gatewayd: told to stop twice: leaving at once")
		os.Exit(1)
	}()
	serve, err := parsed(ctx)
	if err == nil && serve != nil {
		err = marked(serve(ctx))
	}
	if err == nil {
		return 0
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(os.Stderr, "gatewayd: "+text)
	}
	return exitCode(err)
}

// serving is what a command goes on with for years. The tree of commands is garbage then: its flags take 150 KB.
type serving func(context.Context) error

// parsed reads the command line and does what it says, but for what it goes on with.
func parsed(ctx context.Context) (serve serving, err error) {
	cmd, err := command(&serve).ExecuteContextC(ctx)
	if e := (exit{}); err != nil && !errors.As(err, &e) {
		err = usage("%s (see %s --help)", mistyped(cmd, err.Error()), cmd.CommandPath())
	}
	return serve, err
}

// command is the tree of all commands.
func command(serve *serving) *cobra.Command {
	root := &cobra.Command{
		Use:           "gatewayd",
		Short:         "The gateway daemon for industrial sites that nobody visits",
		SilenceErrors: true,
		SilenceUsage:  true,

		DisableSuggestions: true, // several lines: see mistyped
	}
	root.AddGroup(&cobra.Group{ID: "run", Title: "Run a gateway:"}, &cobra.Group{ID: "look", Title: "Look into a running one:"},
		&cobra.Group{ID: "tools", Title: "A technician's tools:"})
	for _, c := range []*cobra.Command{runCommand(serve), checkCommand(), claimCommand(), certCommand(), demoCommand()} {
		c.GroupID = "run"
		root.AddCommand(c)
	}
	for _, c := range []*cobra.Command{
		treeCommand(&client{}), describeCommand(&client{}), watchCommand(&client{}), eventsCommand(&client{}), callCommand(&client{}), traceCommand(), countersCommand(), budgetCommand(), tracksCommand(&client{}), uplinksCommand(&client{}), drillCommand(), accessCommand(), auditCommand(), fleetCommand(),
	} {
		c.GroupID = "look"
		root.AddCommand(c)
	}
	for _, c := range []*cobra.Command{readCommand(), writeCommand(), scanCommand(), simCommand(), replayCommand(), sinkCommand()} {
		c.GroupID = "tools"
		root.AddCommand(c)
	}
	root.AddCommand(versionCommand())
	root.InitDefaultCompletionCmd("completion")
	if c, _, err := root.Find([]string{"completion"}); err == nil {
		c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() } // without it a shell that it does not know is no error
	}
	mark(root)
	return root
}

// mark marks the errors of all commands.
func mark(c *cobra.Command) {
	if run := c.RunE; run != nil {
		c.RunE = func(cmd *cobra.Command, args []string) error { return marked(run(cmd, args)) }
	}
	for _, sub := range c.Commands() {
		mark(sub)
	}
}

// marked tells errors of running a command (exit code 1) from those of a command
// line that cobra refuses (exit code 2).
func marked(err error) error {
	var e exit
	if err == nil || errors.As(err, &e) {
		return err
	}
	return exit{err, 1}
}

// exit is an error with an exit code of its own; 2 is a wrong config or command
// line, 1 anything else.
type exit struct {
	error
	code int
}

func (e exit) Unwrap() error { return e.error }

// usage is an error in what was typed.
func usage(format string, args ...any) error { return exit{fmt.Errorf(format, args...), 2} }

func exitCode(err error) int {
	var e exit
	if errors.As(err, &e) {
		return e.code
	}
	return 2
}
