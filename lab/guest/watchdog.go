package main

import (
	"fmt"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

const (
	petTimeout = 3 * time.Second
	petEvery   = 500 * time.Millisecond
)

func openWatchdog(device string) (*os.File, error) {
	f, err := os.OpenFile(device, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.WDIOC_SETTIMEOUT, int(petTimeout/time.Second)); err != nil {
		return nil, fmt.Errorf("%s: set timeout %s: %w", device, petTimeout, err)
	}
	status, err := unix.IoctlGetInt(int(f.Fd()), unix.WDIOC_GETBOOTSTATUS)
	if err != nil {
		return nil, fmt.Errorf("%s: boot status: %w", device, err)
	}
	fmt.Println("boot status", status)
	return f, nil
}

func starve(device, record string) error {
	f, err := openWatchdog(device)
	if err != nil {
		return err
	}
	for range 3 {
		if _, err := f.Write([]byte{0}); err != nil {
			return fmt.Errorf("%s: pet: %w", device, err)
		}
		time.Sleep(petEvery)
	}
	if err := writeRecord(record, "starved on purpose\n"); err != nil {
		return err
	}
	fmt.Println("starving")
	return unix.Pause()
}

// writeRecord syncs, because the machine is about to be reset.
func writeRecord(path, text string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

func pet(device string) error {
	f, err := openWatchdog(device)
	if err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGTERM)
	fmt.Println("petting")
	for {
		if _, err := f.Write([]byte{0}); err != nil {
			return fmt.Errorf("%s: pet: %w", device, err)
		}
		select {
		case <-stop:
			if _, err := f.WriteString("V"); err != nil {
				return fmt.Errorf("%s: magic close: %w", device, err)
			}
			return f.Close()
		case <-time.After(petEvery):
		}
	}
}
