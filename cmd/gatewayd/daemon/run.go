package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"gatewayd/cmd/gatewayd/access"
	"gatewayd/cmd/gatewayd/exit"
	"gatewayd/cmd/gatewayd/files"
)

// Serving is the part of a command that runs for years. It starts after the tree of commands has
// become garbage, whose flags alone take 150 KB.
type Serving func(context.Context) error

// RunCommand returns "run", which runs a gateway. It sets serve to what is left to do once the
// command line has been parsed.
func RunCommand(kinds files.Kinds, serve *Serving) *cobra.Command {
	var file, dir, level string
	cmd := &cobra.Command{
		Use:   "run --config gateway.toml",
		Short: "Run the gateway",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			log, err := logger(level)
			if err != nil {
				return exit.Usage("%v", err)
			}
			*serve = func(ctx context.Context) error { return run(ctx, kinds, file, dir, log) }
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "gateway.toml", "config file")
	cmd.Flags().StringVar(&dir, "data", files.DataDir(), "data directory of the gateway")
	cmd.Flags().StringVar(&level, "log", "info", "log level: debug, info, warn or error")
	return cmd
}

func logger(level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log %q: want debug, info, warn or error", level)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: l})), nil
}

// errAgain is returned when somebody has claimed the gateway, which then starts again with another
// config.
var errAgain = errors.New("claimed: exiting so that the service manager starts the gateway again")

// run runs a gateway until ctx ends or the watchdog has starved.
func run(ctx context.Context, kinds files.Kinds, file, dir string, log *slog.Logger) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP) // before the start: until it is handled, SIGHUP ends the process
	defer signal.Stop(hup)
	tuneMemory()
	for {
		err := runOnce(ctx, kinds, file, dir, hup, log)
		if !errors.Is(err, errAgain) || os.Getenv("NOTIFY_SOCKET") != "" { // the service manager has been told STOPPING=1, so this process must end
			return err
		}
	}
}

func runOnce(ctx context.Context, kinds files.Kinds, file, dir string, hup <-chan os.Signal, log *slog.Logger) error {
	cfg, problems := kinds.Load(file)
	if err := files.Refused(problems); err != nil {
		return err
	}
	owner := access.Own(kinds, file, dir)
	d, err := Start(owner.Claimable(), cfg, files.NewSource(kinds, file, dir), dir, log)
	if err != nil {
		return err
	}
	for {
		select {
		case <-hup:
			d.reload(ctx)
		case <-owner.Claimed:
			if err := d.Stop(); err != nil {
				log.Warn("stop", "err", err)
			}
			return errAgain
		case cause := <-d.Starved:
			// The last events are flushed so that they can be read after the restart; Flush does
			// not wait for a bus that hangs too.
			if err := d.Bus.Conn().Flush(context.WithoutCancel(ctx)); err != nil {
				log.Warn("the last events may be lost", "err", err)
			}
			return errors.New("all recovery steps have failed: " + cause.String())
		case <-ctx.Done():
			return d.Stop()
		}
	}
}
