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
// stops cleanly at SIGTERM. With starve set it gives up as soon as it pets.
func keep(device, folder string, starve bool) error {
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
	watched := make(chan struct{})
	keeper, err := watchdog.NewKeeper(watchdog.Config{Dog: announced{dog, watched}, Probe: alive, Book: book, Log: log})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGTERM)
	go func() {
		<-watched
		if starve {
			keeper.Starve(watchdog.Cause{Path: "field/rs485-1", Reason: "nothing left after 2 cycles"})
		}
		<-stop
		keeper.Stopping()
		cancel()
	}()
	keeper.Run(ctx)
	return book.Close(true)
}

func alive(context.Context) (watchdog.Evidence, error) { return watchdog.Evidence{Alive: 1}, nil }

// announced prints that the card counts.
type announced struct {
	*watchdog.Device
	armed chan struct{}
}

func (a announced) Arm() (time.Duration, error) {
	timeout, err := a.Device.Arm()
	fmt.Println("armed", a.Identity(), timeout, err)
	close(a.armed)
	return timeout, err
}
