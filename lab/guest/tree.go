package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"gatewayd/actors"
	"gatewayd/bus"
	erraticv1 "gatewayd/schemas/erratic/v1"
	gatewayv1 "gatewayd/schemas/gateway/v1"
	"gatewayd/supervisor"
	"gatewayd/supervisor/config"
	"gatewayd/supervisor/watchdog"
)

// failing cannot even start, whatever its config says.
type failing struct{}

func (failing) Receive(_ *actors.Context, msg any) error {
	if _, ok := msg.(actors.Started); ok {
		return errors.New("no such port")
	}
	return nil
}

// tree is a gateway whose only kind of actor fails: its bus, its actors, its groups and its watchdog. It ends by reset.
func tree(file, folder string) error {
	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	kind := actors.Define(actors.Kind{Name: "erratic", Doc: "Fails at every start."}, func(*erraticv1.Erratic) actors.Actor { return failing{} })
	cfg, problems := config.Load(file, []config.Kind{{Name: kind.Name, Config: kind.ConfigType()}})
	if err := problems.Err(); err != nil {
		return err
	}
	gateway := cfg.Root.Config.(*gatewayv1.Gateway)
	b, err := bus.Start(bus.Config{Gateway: gateway.GetGateway(), Dir: filepath.Join(folder, "bus"), Log: log})
	if err != nil {
		return err
	}
	defer b.Close()
	system := actors.NewSystem(gateway.GetGateway(), b.Conn(), log)
	stop, err := system.Serve()
	if err != nil {
		return err
	}
	defer stop()
	dog, err := watchdog.NewDevice(watchdog.DeviceConfig{Path: gateway.GetWatchdog().GetDevice(), Timeout: gateway.GetWatchdog().GetTimeout().AsDuration()})
	if err != nil {
		return err
	}
	status, err := dog.BootStatus()
	if err != nil {
		return err
	}
	book, previous := watchdog.Open(watchdog.BookConfig{Dir: folder, BootStatus: status, Log: log})
	fmt.Println("previous:", previous)
	if previous.Outcome != watchdog.First {
		return book.Close(true)
	}
	return give(system, cfg, kind, dog, book, log)
}

// give runs the tree until it has given up and the dog bites.
func give(system *actors.System, cfg *config.Tree, kind actors.Kind, dog watchdog.Dog, book *watchdog.Book, log *slog.Logger) error {
	causes := make(chan watchdog.Cause, 1)
	t := supervisor.New(supervisor.Options{System: system, Kinds: []actors.Kind{kind}, Starve: func(path, why string) {
		causes <- watchdog.Cause{Path: path, Reason: why}
	}})
	keeper, err := watchdog.NewKeeper(watchdog.Config{Dog: dog, Probe: t.Evidence, Book: book, Log: log})
	if err != nil {
		return err
	}
	if err := t.Start(cfg); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	go func() { keeper.Starve(<-causes) }()
	keeper.Run(ctx)
	return errors.New("the machine was not reset")
}
