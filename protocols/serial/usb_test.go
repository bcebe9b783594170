package serial_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatewayd/protocols/serial"
)

// sysfs creates a copy of the relevant parts of /sys, with an FTDI adapter on ttyUSB0, a modem on
// ttyACM0 and a plain UART on ttyS1.
func sysfs(t *testing.T) (sys, dev string) {
	t.Helper()
	root := t.TempDir()
	sys, dev = filepath.Join(root, "sys"), filepath.Join(root, "dev")
	usb := "devices/pci0000:00/0000:00:04.0/usb1/"
	for name, text := range map[string]string{
		usb + "idVendor":                            "1d6b\n",
		usb + "1-1/idVendor":                        "0403\n",
		usb + "1-1/idProduct":                       "6001\n",
		usb + "1-1/serial":                          "A50285BI\n",
		usb + "1-1/manufacturer":                    "FTDI\n",
		usb + "1-1/product":                         "FT232R USB UART\n",
		usb + "1-1/authorized":                      "1\n",
		usb + "1-1/1-1:1.0/bInterfaceNumber":        "00\n",
		usb + "1-1/1-1:1.0/ttyUSB0/tty/ttyUSB0/dev": "188:0\n",
		usb + "1-2/idVendor":                        "1e2d\n",
		usb + "1-2/1-2:1.4/bInterfaceNumber":        "04\n",
		usb + "1-2/1-2:1.4/tty/ttyACM0/dev":         "166:0\n",
		"devices/pnp0/00:03/tty/ttyS1/dev":          "4:65\n",
		"bus/usb/drivers/ftdi_sio/bind":             "",
		"bus/usb/drivers/ftdi_sio/unbind":           "",
		"bus/usb/drivers/cdc_acm/unbind":            "",
	} {
		write(t, filepath.Join(sys, name), text)
	}
	for link, target := range map[string]string{
		usb + "1-1/1-1:1.0/driver":                     "bus/usb/drivers/ftdi_sio",
		usb + "1-2/1-2:1.4/driver":                     "bus/usb/drivers/cdc_acm",
		"bus/usb/devices/1-1":                          usb + "1-1",
		"bus/usb/devices/1-1:1.0":                      usb + "1-1/1-1:1.0",
		"class/tty/ttyUSB0":                            usb + "1-1/1-1:1.0/ttyUSB0/tty/ttyUSB0",
		"class/tty/ttyACM0":                            usb + "1-2/1-2:1.4/tty/ttyACM0",
		"class/tty/ttyS1":                              "devices/pnp0/00:03/tty/ttyS1",
		usb + "1-1/1-1:1.0/ttyUSB0/tty/ttyUSB0/device": usb + "1-1/1-1:1.0/ttyUSB0",
		usb + "1-2/1-2:1.4/tty/ttyACM0/device":         usb + "1-2/1-2:1.4",
		"devices/pnp0/00:03/tty/ttyS1/device":          "devices/pnp0/00:03",
	} {
		symlink(t, filepath.Join(sys, target), filepath.Join(sys, link))
	}
	for _, node := range []string{"ttyUSB0", "ttyACM0", "ttyS1"} {
		write(t, filepath.Join(dev, node), "")
	}
	symlink(t, "../../ttyUSB0", filepath.Join(dev, "serial/by-path/pci-0000:00:04.0-usb-0:1:1.0-port0"))
	return sys, dev
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, target, link string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
}

func wrote(t *testing.T, path, want string) {
	t.Helper()
	if b, err := os.ReadFile(path); err != nil || string(b) != want {
		t.Errorf("%s holds %q, want %q (%v)", filepath.Base(path), b, want, err)
	}
}

func TestResolve(t *testing.T) {
	_, dev := sysfs(t)
	if node, err := serial.Resolve(filepath.Join(dev, "serial/by-path/pci-0000:00:04.0-usb-0:1:1.0-port0")); err != nil || filepath.Base(node) != "ttyUSB0" {
		t.Errorf("%q, %v", node, err)
	}
	if _, err := serial.Resolve(filepath.Join(dev, "absent")); !serial.Gone(err) {
		t.Errorf("absent: %v", err)
	}
}

func TestUSBFindsTheAdapter(t *testing.T) {
	sys, dev := sysfs(t)
	d, ok := serial.USB(sys, filepath.Join(dev, "serial/by-path/pci-0000:00:04.0-usb-0:1:1.0-port0"))
	if !ok || d.Name != "1-1" || d.Interface != "1-1:1.0" || d.Driver != "ftdi_sio" || d.Vendor != "0403" || d.Product != "6001" ||
		d.Serial != "A50285BI" || d.Manufacturer != "FTDI" || d.Title != "FT232R USB UART" {
		t.Errorf("%+v, %v", d, ok)
	}
	if d, ok := serial.USB(sys, filepath.Join(dev, "ttyACM0")); !ok || d.Name != "1-2" || d.Interface != "1-2:1.4" || d.Driver != "cdc_acm" || d.Serial != "" {
		t.Errorf("%+v, %v", d, ok)
	}
	for _, node := range []string{"ttyS1", "absent"} {
		if d, ok := serial.USB(sys, filepath.Join(dev, node)); ok {
			t.Errorf("%s is on USB: %+v", node, d)
		}
	}
}

func TestUSBPowerCycle(t *testing.T) {
	sys, dev := sysfs(t)
	d, ok := serial.USB(sys, filepath.Join(dev, "ttyUSB0"))
	if !ok || !d.Plugged() {
		t.Fatal("no adapter")
	}
	driver, bound := filepath.Join(sys, "bus/usb/drivers/ftdi_sio"), filepath.Join(sys, "bus/usb/devices/1-1:1.0/driver")
	step := func(name string, err error) {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	step("bind while bound", d.Bind())
	wrote(t, filepath.Join(driver, "bind"), "")
	step("unbind", d.Unbind())
	wrote(t, filepath.Join(driver, "unbind"), "1-1:1.0")
	step("what the kernel does then", errors.Join(os.Remove(bound), os.Truncate(filepath.Join(driver, "unbind"), 0)))
	step("unbind again", d.Unbind())
	wrote(t, filepath.Join(driver, "unbind"), "")
	step("bind", d.Bind())
	wrote(t, filepath.Join(driver, "bind"), "1-1:1.0")
	authorized := filepath.Join(sys, "bus/usb/devices/1-1/authorized")
	step("deauthorize", d.Deauthorize())
	wrote(t, authorized, "0\n")
	step("authorize", d.Authorize())
	wrote(t, authorized, "1\n")

	step("unplug", os.Remove(filepath.Join(sys, "bus/usb/devices/1-1")))
	if d.Plugged() {
		t.Error("still plugged")
	}
	if err := d.Authorize(); !serial.Gone(err) {
		t.Errorf("unplugged: %v", err)
	}
	if err := (serial.USBDevice{}).Authorize(); err == nil || !strings.Contains(err.Error(), "no adapter was found") {
		t.Errorf("no adapter was authorised: %v", err)
	}
}
