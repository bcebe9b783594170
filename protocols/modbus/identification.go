package modbus

import (
	"errors"
	"fmt"
)

// deviceIdentification is the MEI type of function 43 that reads the device identification (V1.1b3
// §6.21).
const deviceIdentification = 14

// Categories of objects of the device identification. Each stream category includes the ones before
// it.
const (
	BasicIdentification    uint8 = 1 // objects 0 to 2: vendor name, product code, revision
	RegularIdentification  uint8 = 2 // up to object 6: vendor URL, product name, model name, user application name
	ExtendedIdentification uint8 = 3 // objects from 128 on, defined by the vendor
	OneObject              uint8 = 4 // a single object, if the unit supports it
)

// Identify returns the request for the objects of a category, starting with object, or for that
// object alone (OneObject).
func Identify(unit, category, object uint8) Request {
	return Request{Unit: unit, Function: EncapsulatedInterface, Data: []byte{deviceIdentification, category, object}}
}

func checkIdentify(data []byte) error {
	if len(data) != 3 {
		return fmt.Errorf("%d bytes of data where 3 are needed", len(data))
	}
	if data[1] < BasicIdentification || data[1] > OneObject {
		return fmt.Errorf("category %d is not within 1..4", data[1])
	}
	return nil
}

// Identification is the part of a device's identification that one answer contains.
type Identification struct {
	Conformity uint8 // the largest category the device supports, plus 128 if it supports OneObject
	More       bool  // the objects from Next on did not fit
	Next       uint8
	Objects    []Object
}

// Object is one object of a device's identification.
type Object struct {
	ID    uint8
	Value []byte // text; the format of objects from 128 on is up to the vendor
}

// ObjectName returns the specification's name of an object (V1.1b3 §6.21), or "" if it has none.
func ObjectName(id uint8) string {
	names := [...]string{"vendor-name", "product-code", "revision", "vendor-url", "product-name", "model-name", "user-application-name"}
	if int(id) < len(names) {
		return names[id]
	}
	return ""
}

var errIdentification = errors.New("not a device identification")

// ParseIdentification parses the Data of an answer to Identify. The Values refer to data.
func ParseIdentification(data []byte) (Identification, error) {
	if len(data) < 6 || data[0] != deviceIdentification || data[3] != 0 && data[3] != 0xff {
		return Identification{}, errIdentification
	}
	id := Identification{Conformity: data[2], More: data[3] != 0, Next: data[4]}
	rest := data[6:]
	for range int(data[5]) {
		if len(rest) < 2 || len(rest) < 2+int(rest[1]) {
			return Identification{}, errIdentification
		}
		end := 2 + int(rest[1])
		id.Objects = append(id.Objects, Object{ID: rest[0], Value: rest[2:end]})
		rest = rest[end:]
	}
	if len(rest) > 0 {
		return Identification{}, errIdentification
	}
	return id, nil
}

// AppendIdentification appends the Data of an answer to Identify with that category.
func AppendIdentification(dst []byte, category uint8, id Identification) []byte {
	more := byte(0)
	if id.More {
		more = 0xff
	}
	dst = append(dst, deviceIdentification, category, id.Conformity, more, id.Next, byte(len(id.Objects)))
	for _, o := range id.Objects {
		dst = append(append(dst, o.ID, byte(len(o.Value))), o.Value...)
	}
	return dst
}

// identifies reports whether pdu, whose length has already been checked, answers the request data.
func identifies(data, pdu []byte) bool {
	id, err := ParseIdentification(pdu[1:])
	if err != nil || pdu[2] != data[1] {
		return false
	}
	asked := data[2]
	switch {
	case data[1] == OneObject:
		return len(id.Objects) == 1 && id.Objects[0].ID == asked
	case len(id.Objects) == 0:
		return !id.More
	}
	// A device without the requested object starts again with its first one.
	first := id.Objects[0].ID
	return first == 0 || first >= asked
}

// identificationSize walks the objects of an answer PDU. It returns the minimum number of its
// bytes, and whether that is the exact number.
func identificationSize(pdu []byte) (n int, whole bool) {
	n = 7
	if len(pdu) < n {
		return n, false
	}
	for range int(pdu[6]) {
		n += 2
		if len(pdu) < n {
			return n, false
		}
		n += int(pdu[n-1])
	}
	return n, true
}
