package serial

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// USBDevice is the USB adapter behind a port, as sysfs shows it. It stays valid while the adapter
// is unplugged, because its names denote the USB socket: find it while the port exists, use it when
// the port is stuck. Its methods need root, and block as long as the kernel waits for a driver that
// hangs.
type USBDevice struct {
	Name         string // USB socket, e.g. "1-1.4"
	Interface    string // USB interface of the port, e.g. "1-1.4:1.0"
	Driver       string // kernel driver of the interface, e.g. "ftdi_sio"
	Vendor       string // four hex digits, e.g. "0403"
	Product      string // four hex digits
	Serial       string // may be empty
	Manufacturer string // may be empty
	Title        string // product string, may be empty

	root string
}

// Resolve follows links, such as those in /dev/serial/by-path, to the device node.
func Resolve(path string) (string, error) {
	node, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("port %s: %w", path, err)
	}
	return node, nil
}

// USB returns the adapter of the port at path, a node or a link to one, or false if the port does
// not exist or is not on USB. sysfs is "/sys" except in tests.
func USB(sysfs, path string) (USBDevice, bool) {
	node, err := filepath.EvalSymlinks(path)
	if err != nil {
		return USBDevice{}, false
	}
	dir, err := filepath.EvalSymlinks(filepath.Join(sysfs, "class/tty", filepath.Base(node), "device"))
	if err != nil {
		return USBDevice{}, false
	}
	d := USBDevice{root: sysfs}
	for ; dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		if d.Interface == "" && exists(filepath.Join(dir, "bInterfaceNumber")) {
			d.Interface = filepath.Base(dir)
			if driver, err := os.Readlink(filepath.Join(dir, "driver")); err == nil {
				d.Driver = filepath.Base(driver)
			}
		}
		if exists(filepath.Join(dir, "idVendor")) {
			d.Name = filepath.Base(dir)
			d.describe(dir)
			return d, d.Interface != ""
		}
	}
	return USBDevice{}, false
}

func (d *USBDevice) describe(dir string) {
	for name, field := range map[string]*string{"idVendor": &d.Vendor, "idProduct": &d.Product, "serial": &d.Serial, "manufacturer": &d.Manufacturer, "product": &d.Title} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			*field = strings.TrimSpace(string(b))
		}
	}
}

// Unbind detaches the driver from the port's interface. The node disappears; other ports of the
// same adapter are not affected. It is not an error if no driver is bound.
func (d USBDevice) Unbind() error {
	if exists(d.interfaceFile("")) && !exists(d.interfaceFile("driver")) {
		return nil
	}
	if d.Driver == "" {
		return fmt.Errorf("usb adapter %s: unbind: it had no driver when it was found", d.Name)
	}
	return d.write("unbind", filepath.Join("bus/usb/drivers", d.Driver, "unbind"), d.Interface)
}

// Bind attaches the driver that the interface had when the device was found. The node comes back;
// see Appeared. It is not an error if a driver is bound.
func (d USBDevice) Bind() error {
	if exists(d.interfaceFile("driver")) {
		return nil
	}
	if d.Driver == "" {
		return fmt.Errorf("usb adapter %s: bind: it had no driver when it was found", d.Name)
	}
	return d.write("bind", filepath.Join("bus/usb/drivers", d.Driver, "bind"), d.Interface)
}

// Deauthorize takes the whole adapter with all its ports out of use, as if it were unplugged (Linux
// Documentation/usb/authorization).
func (d USBDevice) Deauthorize() error {
	return d.write("deauthorize", filepath.Join("bus/usb/devices", d.Name, "authorized"), "0")
}

// Authorize reverses Deauthorize; the kernel configures the adapter and binds its drivers again.
func (d USBDevice) Authorize() error {
	return d.write("authorize", filepath.Join("bus/usb/devices", d.Name, "authorized"), "1")
}

// Plugged reports whether the adapter is in its socket, regardless of its drivers.
func (d USBDevice) Plugged() bool { return exists(filepath.Join(d.root, "bus/usb/devices", d.Name)) }

func (d USBDevice) interfaceFile(name string) string {
	return filepath.Join(d.root, "bus/usb/devices", d.Interface, name)
}

func (d USBDevice) write(what, file, value string) error {
	if d.Name == "" {
		return fmt.Errorf("usb adapter: %s: no adapter was found", what)
	}
	f, err := os.OpenFile(filepath.Join(d.root, file), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(value)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("usb adapter %s: %s: %w", d.Name, what, err)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
