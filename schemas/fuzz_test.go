package schemas_test

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/schemas"
	modbusv1 "gatewayd/schemas/modbus/v1"
)

// Merge accepts any JSON without a panic, leaves dst unchanged if it fails, and has the same result
// the second time.
func FuzzMerge(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"link":"a","unit":5}`, `{"maxRegisters":null,"every":"1m"}`, `{"points":[{"name":"a","bit":3,"scale":"NaN"},{}]}`,
		`{"points":{"name":1}}`, `{"unit":1e300,"gap":-1,"x":[[]]}`, `{"max-bits":0.5}`, `{"every":"9e99h"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		patch := &structpb.Struct{}
		if patch.UnmarshalJSON(text) != nil {
			return
		}
		u := &modbusv1.Unit{Link: "field/line", Unit: 7}
		schemas.Defaults(u)
		before := proto.Clone(u)
		err := schemas.Merge(u, patch)
		if err != nil && !proto.Equal(u, before) {
			t.Fatalf("changed to %v beside %v", u, err)
		}
		once := proto.Clone(u)
		again := schemas.Merge(u, patch)
		if (again == nil) != (err == nil) || !proto.Equal(u, once) {
			t.Fatalf("first %v, %v, then %v, %v", once, err, u, again)
		}
		schemas.Check(u)
		schemas.References(u)
	})
}
