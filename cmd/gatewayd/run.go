package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"gatewayd/supervisor/config"
)

func runCommand() *cobra.Command {
	var file, dir, level string
	cmd := &cobra.Command{
		Use:   "run --config gateway.toml",
		Short: "Run the gateway",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logger(level)
			if err != nil {
				return exit{err, 2}
			}
			return run(cmd.Context(), file, dir, log)
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "gateway.toml", "config file")
	cmd.Flags().StringVar(&dir, "data", dataDir(), "directory for everything the gateway keeps")
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

// dataDir is where data goes unless --data says otherwise.
func dataDir() string {
	if dir := os.Getenv("STATE_DIRECTORY"); dir != "" {
		return dir // set by systemd for StateDirectory=
	}
	if os.Getuid() == 0 {
		return "/var/lib/gatewayd"
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "state", "gatewayd")
	}
	return "gatewayd-data"
}

// run runs a gateway until ctx ends or the watchdog has starved.
func run(ctx context.Context, file, dir string, log *slog.Logger) error {
	tuneMemory()
	cfg, problems := load(file)
	if err := problems.Err(); err != nil {
		return exit{err, 2}
	}
	d, err := start(cfg, fileSource{file: file, dir: filepath.Join(dir, "config")}, dir, log)
	if err != nil {
		return err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-hup:
			d.reload(ctx)
		case cause := <-d.starved:
			return errors.New("nothing is left to heal the gateway with: " + cause.String())
		case <-ctx.Done():
			return d.stop()
		}
	}
}

// tuneMemory trades a little work of the garbage collector for a small idle
// daemon; an operator's own GOGC or GOMEMLIMIT wins.
func tuneMemory() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(50)
	}
}

func checkCommand() *cobra.Command {
	var schema, asJSON bool
	cmd := &cobra.Command{
		Use:   "check gateway.toml",
		Short: "Find everything that is wrong with a config file, without running it",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := cmd.OutOrStdout()
			if schema {
				text, err := jsonSchema()
				if err == nil {
					_, err = fmt.Fprintln(out, string(text))
				}
				return err
			}
			if len(args) == 0 {
				return exit{errors.New("name a config file, or ask for --schema"), 2}
			}
			cfg, problems := load(args[0])
			if asJSON {
				text, err := problems.FormatJSON()
				if err == nil {
					_, err = fmt.Fprintln(out, string(text))
				}
				if err == nil && len(problems) > 0 {
					err = exit{fmt.Errorf("%s: %d problems", args[0], len(problems)), 2}
				}
				return err
			}
			if err := problems.Err(); err != nil {
				return exit{err, 2}
			}
			groups, actors := count(cfg)
			_, err := fmt.Fprintf(out, "%s is fine: %d actors in %d groups\n", args[0], actors, groups)
			return err
		},
	}
	cmd.Flags().BoolVar(&schema, "schema", false, "print the JSON Schema of the config file, for editors")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the problems as JSON")
	return cmd
}

func count(cfg *config.Tree) (groups, actors int) {
	cfg.Walk(func(n *config.Node) {
		switch {
		case n.Kind != "":
			actors++
		case n.Path != "":
			groups++
		}
	})
	return groups, actors
}
