package watchdog_test

import (
	"context"
	"log/slog"
	"os"
	"time"

	"gatewayd/supervisor/watchdog"
)

// How main wires the watchdog: the hardware's boot status first, then the book, then the keeper
// with the book's plan; the book is closed last of all.
func Example() {
	log := slog.New(slog.DiscardHandler)
	var dog watchdog.Watchdog = watchdog.None{}
	systemd, err := watchdog.NewSystemd(os.Getenv, os.Getpid())
	if err != nil {
		log.Warn(err.Error())
	}
	if systemd != nil {
		dog = systemd
	}
	var status watchdog.BootStatus
	device, err := watchdog.NewDevice(watchdog.DeviceConfig{Path: "/dev/watchdog0", Timeout: 2 * time.Minute})
	if err != nil {
		log.Warn(err.Error())
	} else if status, err = device.BootStatus(); err == nil {
		dog = watchdog.Pair{First: dog, Behind: device}
	}

	dir, _ := os.MkdirTemp("", "gatewayd")
	defer os.RemoveAll(dir)
	book, previous := watchdog.Open(watchdog.BookConfig{Dir: dir, BootStatus: status, Log: log})
	log.Info("last life: " + previous.String())
	plan := book.Plan() // plan.Mode says which groups to start

	ctx, cancel := context.WithCancel(context.Background())
	keeper, err := watchdog.NewKeeper(watchdog.Config{
		Watchdog: dog, Book: book, Hold: plan.Hold, Log: log,
		Probe:   func(context.Context) (watchdog.Evidence, error) { return watchdog.Evidence{Alive: 1}, nil },
		Starved: func(watchdog.Cause) { os.Exit(1) },
	})
	if err != nil {
		log.Error(err.Error())
	}
	ended := make(chan struct{})
	go func() { keeper.Run(ctx); close(ended) }()

	keeper.Stopping() // a signal came; stop the tree, then the keeper
	cancel()
	<-ended
	if err := book.Close(true); err != nil {
		log.Warn(err.Error())
	}
}
