package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/serial"
)

// wire is an open port with a Modbus link over it.
type wire struct {
	*modbus.Link
	port *serial.Port
}

// poll opens the port whenever it is there and asks unit 1 ten times a second. It prints "opened NODE", "answer N" after
// that, and "gone: cause" at its loss; any other loss of the link ends it.
func poll(path string) error {
	for {
		w, err := openWire(path)
		if err == nil {
			err = pollWire(w)
			w.port.Close()
		}
		if !serial.Gone(err) {
			return err
		}
		fmt.Println("gone:", err)
	}
}

func pollWire(w wire) error {
	said := false
	for range time.Tick(100 * time.Millisecond) {
		answer, err := w.ask()
		switch {
		case err != nil && (modbus.LinkLost(err) || serial.Gone(err)):
			return err
		case err != nil:
			fmt.Println("no answer:", err)
		case !said:
			fmt.Println("answer", answer)
			said = true
		}
	}
	return nil
}

func openWire(path string) (wire, error) {
	if err := serial.Appeared(context.Background(), path); err != nil {
		return wire{}, err
	}
	node, err := serial.Resolve(path)
	if err != nil {
		return wire{}, err
	}
	port, err := serial.Open(serial.Config{Path: path, Baud: 19200, Parity: "even"})
	if err != nil {
		return wire{}, err
	}
	fmt.Println("opened", node)
	return wire{modbus.NewLink(port, modbus.RTU, modbus.Options{Baud: 19200, Timeout: 2 * time.Second}), port}, nil
}

// ask reads holding register 0 of unit 1.
func (w wire) ask() (uint16, error) {
	r, err := w.Do(context.Background(), modbus.Request{Unit: 1, Function: modbus.ReadHoldingRegisters, Quantity: 1})
	if err != nil {
		return 0, err
	}
	return r.Register(0), nil
}

// cycle takes the adapter out of use under an open port, once by its driver and once by its socket, and back.
func cycle(path string) error {
	w, err := openWire(path)
	if err != nil {
		return err
	}
	defer func() { w.port.Close() }()
	adapter, ok := serial.USB("/sys", path)
	if !ok {
		return fmt.Errorf("%s: no USB adapter found", path)
	}
	fmt.Println("adapter", adapter.Name, adapter.Interface, adapter.Driver, adapter.Vendor, adapter.Product)
	for _, way := range []struct {
		name    string
		off, on func() error
	}{{"driver", adapter.Unbind, adapter.Bind}, {"socket", adapter.Deauthorize, adapter.Authorize}} {
		if err := goneWhileReading(w.port, way.off); err != nil {
			return fmt.Errorf("%s off: %w", way.name, err)
		}
		fmt.Println(way.name, "off: plugged", adapter.Plugged())
		if err := errors.Join(w.port.Close(), way.on()); err != nil {
			return fmt.Errorf("%s on: %w", way.name, err)
		}
		if w, err = openWire(path); err != nil {
			return err
		}
		answer, err := w.ask()
		if err != nil {
			return err
		}
		fmt.Println(way.name, "on: answer", answer)
	}
	return nil
}

// goneWhileReading checks that off ends a waiting read with an error that means unplugged.
func goneWhileReading(port *serial.Port, off func() error) error {
	lost := make(chan error)
	go func() {
		_, err := port.Read(make([]byte, 1))
		lost <- err
	}()
	if err := off(); err != nil {
		return err
	}
	if err := <-lost; !serial.Gone(err) {
		return fmt.Errorf("the read ended with %w", err)
	}
	return nil
}
