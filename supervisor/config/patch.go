package config

import (
	"google.golang.org/protobuf/types/known/structpb"
)

// Patch reads settings of one actor or group, as in its table but without the header, for
// schemas.Merge.
func Patch(text []byte) (*structpb.Struct, Problems) {
	r := newReader("toml", nil, nil)
	doc := newSyntax(text, r.problem).document()
	if len(r.problems) > 0 {
		return nil, r.problems
	}
	return doc.patch().GetStructValue(), nil
}

func (v *value) patch() *structpb.Value {
	switch v.form {
	case tableForm:
		s := &structpb.Struct{Fields: map[string]*structpb.Value{}}
		for _, e := range v.entries {
			s.Fields[e.key] = e.val.patch()
		}
		return structpb.NewStructValue(s)
	case listForm:
		l := &structpb.ListValue{}
		for _, i := range v.items {
			l.Values = append(l.Values, i.patch())
		}
		return structpb.NewListValue(l)
	}
	switch plain, _ := v.scalar(); n := plain.(type) {
	case bool:
		return structpb.NewBoolValue(n)
	case int64:
		if int64(float64(n)) != n { // Merge accepts numbers that JSON cannot represent exactly as text
			return structpb.NewStringValue(v.text)
		}
		return structpb.NewNumberValue(float64(n))
	case float64:
		return structpb.NewNumberValue(n)
	}
	return structpb.NewStringValue(v.text)
}
