package serial

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// USBDevice is the USB adapter behind a port, as sysfs shows it. It stays valid while the adapter is unplugged, because its names say
// the socket it sits in: take it while the port is there, use it when the port is stuck. Its methods need root, and wait
// as long as the kernel does for a driver that hangs.
type USBDevice struct {
	Name         string // socket, e.g. "1-1.4"
	Interface    string // the port's function of the adapter, e.g. "1-1.4:1.0"
	Driver       string // kernel driver of the interface, e.g. "ftdi_sio"
	Vendor       string // four hex digits, e.g. "0403"
	Product      string // four hex digits
	Serial       string // may be empty
	Manufacturer string // may be empty
	Title        string // product string, may be empty

	root string
}

// Resolve follows links such as those of /dev/serial/by-path to the device node.
func Resolve(path string) (string, error) {
	node, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("port %s: %w", path, err)
	}
	return node, nil
}

// USB finds the adapter of the port at path, a node or a link to one; false if the port is absent or not on USB.
// The root of sysfs is "/sys" but in tests.
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

// Unbind takes the driver off the port's interface; the node disappears, other ports of the same adapter are untouched.
// It is no error if no driver is bound.
func (d USBDevice) Unbind() error {
	if exists(d.interfaceFile("")) && !exists(d.interfaceFile("driver")) {
		return nil
	}
	if d.Driver == "" {
		return fmt.Errorf("usb adapter %s: unbind: it had no driver when it was found", d.Name)
	}
	return d.write("unbind", filepath.Join("bus/usb/drivers", d.Driver, "unbind"), d.Interface)
}

// Bind gives the interface back to the driver it had when the device was found; the node comes back, see Appeared.
// It is no error if a driver is bound.
func (d USBDevice) Bind() error {
	if exists(d.interfaceFile("driver")) {
		return nil
	}
	if d.Driver == "" {
		return fmt.Errorf("usb adapter %s: bind: it had no driver when it was found", d.Name)
	}
	return d.write("bind", filepath.Join("bus/usb/drivers", d.Driver, "bind"), d.Interface)
}

// Deauthorize takes the whole adapter, all its ports, out of use as if unplugged (Linux Documentation/usb/authorization).
func (d USBDevice) Deauthorize() error {
	return d.write("deauthorize", filepath.Join("bus/usb/devices", d.Name, "authorized"), "0")
}

// Authorize ends Deauthorize; the kernel configures the adapter and binds its drivers anew.
func (d USBDevice) Authorize() error {
	return d.write("authorize", filepath.Join("bus/usb/devices", d.Name, "authorized"), "1")
}

// Plugged says whether the adapter sits in its socket, whatever its drivers do.
func (d USBDevice) Plugged() bool { return exists(filepath.Join(d.root, "bus/usb/devices", d.Name)) }

func (d USBDevice) interfaceFile(name string) string {
	return filepath.Join(d.root, "bus/usb/devices", d.Interface, name)
}

func (d USBDevice) write(what, file, value string) error {
	if d.Name == "" {
		return fmt.Errorf("usb adapter: %s: none was found", what)
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
