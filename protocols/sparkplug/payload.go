// Package sparkplug is a Sparkplug B 3.0 edge node without its connection: payloads, topics, and
// the decisions what to publish when. It opens no connections and reads no clock; package edge
// carries out what Node decides. Source: the specification 3.0.0, chapters 4 to 6.
//
// It supports scalar metrics. Data sets, templates and arrays, which records cannot contain, are
// not supported.
package sparkplug

import "fmt"

// A Payload is one message of Sparkplug B.
type Payload struct {
	Time    int64 // milliseconds since 1970; 0: not set
	Metrics []Metric
	Seq     int // 0 to 255; NoSeq: not set
}

// NoSeq is the Seq of a payload without sequence number.
const NoSeq = -1

// A Metric is one value of a payload. It has a name, an alias or both.
type Metric struct {
	Name       string
	Alias      uint64   // 0: not set
	Time       int64    // milliseconds since 1970; 0: not set
	Type       DataType // 0: not set
	Historical bool
	Null       bool
	Properties []Property
	Value      Value // nil: none, or of a kind that this package does not support
}

// A Property is an attribute of a metric, e.g. its quality.
type Property struct {
	Key   string
	Type  DataType
	Value Value
}

// A Value is an encoded value: Int, Long, float32, float64, bool, string or []byte. The DataType
// says what an Int or a Long means.
type Value any

type (
	Int  uint32 // carries Int8 to Int32 and UInt8 to UInt32
	Long uint64 // carries Int64, UInt64 and DateTime
)

// A DataType is the type of a metric's value.
type DataType uint32

// Specification 6.4.16.
const (
	Int8 DataType = iota + 1
	Int16
	Int32
	Int64
	UInt8
	UInt16
	UInt32
	UInt64
	Float
	Double
	Boolean
	String
	DateTime
	Text
	UUID
	DataSet
	Bytes
	File
	Template
	lastType DataType = 34
)

var typeNames = [...]string{Int8: "Int8", Int16: "Int16", Int32: "Int32", Int64: "Int64", UInt8: "UInt8", UInt16: "UInt16",
	UInt32: "UInt32", UInt64: "UInt64", Float: "Float", Double: "Double", Boolean: "Boolean", String: "String", DateTime: "DateTime",
	Text: "Text", UUID: "UUID", DataSet: "DataSet", Bytes: "Bytes", File: "File", Template: "Template"}

func (t DataType) String() string {
	if int(t) < len(typeNames) && t > 0 {
		return typeNames[t]
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// TypeNamed returns the type with that name, as returned by String; 0 if there is none.
func TypeNamed(name string) DataType {
	for t := Int8; int(t) < len(typeNames); t++ {
		if typeNames[t] == name {
			return t
		}
	}
	return 0
}

// Valid reports whether t is defined by the specification.
func (t DataType) Valid() bool { return t >= Int8 && t <= lastType }

// The property with a metric's quality, and its values (specification 6.4.9).
const (
	Quality          = "Quality"
	Bad       uint32 = 0
	Good      uint32 = 192
	Stale     uint32 = 500
	unitKey          = "engUnit"
	bdSeqName        = "bdSeq"
)

// Rebirth is the metric by which a host requests new births.
const Rebirth = "Node Control/Rebirth"
