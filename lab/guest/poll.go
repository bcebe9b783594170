package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"gatewayd/protocols/serial"
)

// readRegister is the request frame: unit 1, read one holding register at 0.
func readRegister() []byte { return []byte{0x01, 0x03, 0x00, 0x00, 0x00, 0x01, 0x84, 0x0a} }

// poll opens the port whenever it is there and asks ten times a second. It prints "opened NODE", "answer N" after that,
// and "gone: cause" at its loss; any other error ends it.
func poll(path string) error {
	for {
		port, err := openPort(path)
		if err == nil {
			err = pollPort(port)
			port.Close()
		}
		if !serial.Gone(err) {
			return err
		}
		fmt.Println("gone:", err)
	}
}

func pollPort(port *serial.Port) error {
	said := false
	for range time.Tick(100 * time.Millisecond) {
		answer, err := ask(port)
		if err != nil {
			return err
		}
		if !said {
			fmt.Printf("answer % x\n", answer)
		}
		said = true
	}
	return nil
}

func openPort(path string) (*serial.Port, error) {
	if err := serial.Appeared(context.Background(), path); err != nil {
		return nil, err
	}
	node, err := serial.Resolve(path)
	if err != nil {
		return nil, err
	}
	port, err := serial.Open(serial.Config{Path: path, Baud: 19200, Parity: "even"})
	if err != nil {
		return nil, err
	}
	fmt.Println("opened", node)
	return port, nil
}

func ask(port *serial.Port) ([]byte, error) {
	if _, err := port.Write(readRegister()); err != nil {
		return nil, err
	}
	answer := make([]byte, 7)
	if err := port.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(port, answer); err != nil {
		return nil, err
	}
	if !bytes.Equal(answer[:3], []byte{0x01, 0x03, 0x02}) {
		return nil, fmt.Errorf("unexpected answer % x", answer)
	}
	return answer[3:5], nil
}

// cycle takes the adapter out of use under an open port, once by its driver and once by its socket, and back.
func cycle(path string) error {
	port, err := openPort(path)
	if err != nil {
		return err
	}
	defer func() { port.Close() }()
	adapter, ok := serial.USB("/sys", path)
	if !ok {
		return fmt.Errorf("%s: no USB adapter found", path)
	}
	fmt.Println("adapter", adapter.Name, adapter.Interface, adapter.Driver, adapter.Vendor, adapter.Product)
	for _, way := range []struct {
		name    string
		off, on func() error
	}{{"driver", adapter.Unbind, adapter.Bind}, {"socket", adapter.Deauthorize, adapter.Authorize}} {
		lost := make(chan error)
		go func() {
			_, err := port.Read(make([]byte, 1))
			lost <- err
		}()
		if err := way.off(); err != nil {
			return fmt.Errorf("%s off: %w", way.name, err)
		}
		err := <-lost
		fmt.Println(way.name, "off: gone", serial.Gone(err), "plugged", adapter.Plugged())
		if err := errors.Join(port.Close(), way.on()); err != nil {
			return fmt.Errorf("%s on: %w", way.name, err)
		}
		if port, err = openPort(path); err != nil {
			return err
		}
		answer, err := ask(port)
		if err != nil {
			return err
		}
		fmt.Printf("%s on: answer % x\n", way.name, answer)
	}
	return nil
}
