package config

import (
	"testing"
	"unsafe"

	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Field names of a thousand units are stored once while a file is read: all of them share the same
// strings.
func TestActorsOfOneKindHaveOneNameForAField(t *testing.T) {
	r := newReader("plant.toml", []Kind{{Name: "modbus-unit", Config: (&modbusv1.Unit{}).ProtoReflect().Type()}}, nil)
	unit := "kind = \"modbus-unit\"\nlink = \"x\"\nunit = 1\npoints = [{ name = \"a\", address = 1 }]\n"
	r.read([]byte("gateway = \"demo\"\n[field.a]\n" + unit + "[field.b]\n" + unit))
	seen, again := map[string]*byte{}, 0
	for _, one := range r.readings {
		for field := range one.lines {
			at := unsafe.StringData(field)
			if was := seen[field]; was != nil {
				if again++; was != at {
					t.Errorf("%s is defined twice", field)
				}
			}
			seen[field] = at
		}
	}
	if again == 0 {
		t.Fatal("no field was read twice")
	}
}
