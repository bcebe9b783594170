package modbus

import (
	"errors"
	"fmt"
)

// deviceIdentification is the MEI type of function 43 that reads it (V1.1b3 §6.21).
const deviceIdentification = 14

// Categories of objects of the device identification: each stream holds the ones before.
const (
	BasicIdentification    uint8 = 1 // objects 0 to 2: vendor name, product code, revision
	RegularIdentification  uint8 = 2 // up to 6: vendor URL, product name, model name, user application name
	ExtendedIdentification uint8 = 3 // from 128 on: the vendor's own
	OneObject              uint8 = 4 // that one alone, where the unit can
)

// Identify is the request of a category's objects from one on, or of OneObject.
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

// Identification is a part of a device's identification, as one answer brings it.
type Identification struct {
	Conformity uint8 // the largest category the device has, plus 128 where it gives objects one by one
	More       bool  // the objects from Next on did not fit
	Next       uint8
	Objects    []Object
}

// Object is one object of a device's identification.
type Object struct {
	ID    uint8
	Value []byte // text; objects from 128 on hold what the vendor likes
}

// ObjectName is the specification's name of an object (V1.1b3 §6.21), "" where it has none.
func ObjectName(id uint8) string {
	names := [...]string{"vendor-name", "product-code", "revision", "vendor-url", "product-name", "model-name", "user-application-name"}
	if int(id) < len(names) {
		return names[id]
	}
	return ""
}

var errIdentification = errors.New("not a device identification")

// ParseIdentification reads the Data of an answer to Identify. Values are parts of data.
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

// AppendIdentification appends the Data of an answer to Identify of that category.
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

// identifies says whether pdu, which is walked to its end already, answers the request data.
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
	// A device that has no such object begins anew with the first.
	first := id.Objects[0].ID
	return first == 0 || first >= asked
}

// identificationSize walks the objects of an answer PDU: the bytes it has at least, and whether that is all.
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
