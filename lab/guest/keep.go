package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"gatewayd/supervisor/watchdog"
)

// keep is a gateway with nothing but its watchdog: it prints how its last life ended, pets on constant evidence and
// stops cleanly at SIGTERM.
func keep(device, folder string) error {
	log := slog.New(slog.NewTextHandler(os.Stdout, nil))
	dog, err := watchdog.NewDevice(watchdog.DeviceConfig{Path: device, Timeout: 5 * time.Second})
	if err != nil {
		return err
	}
	status, err := dog.BootStatus()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	book, previous := watchdog.Open(watchdog.BookConfig{Dir: folder, BootStatus: status, Log: log})
	fmt.Println("previous:", previous)
	keeper, err := watchdog.NewKeeper(watchdog.Config{Dog: announced{dog}, Probe: alive, Book: book, Log: log})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGTERM)
	go func() {
		<-stop
		keeper.Stopping()
		cancel()
	}()
	keeper.Run(ctx)
	return book.Close(true)
}

func alive(context.Context) (watchdog.Evidence, error) { return watchdog.Evidence{Alive: 1}, nil }

// announced prints that the card counts.
type announced struct{ *watchdog.Device }

func (a announced) Arm() (time.Duration, error) {
	timeout, err := a.Device.Arm()
	fmt.Println("armed", a.Identity(), timeout, err)
	return timeout, err
}
