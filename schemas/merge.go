package schemas

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/structpb"
)

// Merge overwrites the fields of dst whose keys are in patch; all others stay, so an explicit zero
// or false takes effect. Keys may be spelled as in the config file ("data-bits") or as in JSON
// ("dataBits"). A nested message is merged, a list is replaced, null restores the default. On error
// dst is unchanged, and the error names every invalid key.
func Merge(dst proto.Message, patch *structpb.Struct) error {
	work := proto.Clone(dst)
	m := merger{}
	m.message("", work.ProtoReflect(), patch)
	if err := errors.Join(m.errs...); err != nil {
		return err
	}
	proto.Reset(dst)
	proto.Merge(dst, work)
	return nil
}

type merger struct{ errs []error }

func (m *merger) fail(field string, err error) {
	m.errs = append(m.errs, fmt.Errorf("%s: %w", field, err))
}

func (m *merger) message(at string, dst protoreflect.Message, patch *structpb.Struct) {
	seen := map[protoreflect.Name]string{}
	for _, key := range slices.Sorted(maps.Keys(patch.GetFields())) {
		fd := fieldByAnyName(dst.Descriptor(), key)
		if fd == nil {
			m.fail(join(at, key), fmt.Errorf("unknown key%s", DidYouMean(key, Keys(dst.Descriptor()))))
			continue
		}
		if other, twice := seen[fd.Name()]; twice {
			m.fail(join(at, key), fmt.Errorf("is defined twice, also as %q", other))
			continue
		}
		seen[fd.Name()] = key
		m.field(join(at, Key(fd)), dst, fd, patch.GetFields()[key])
	}
}

func fieldByAnyName(md protoreflect.MessageDescriptor, key string) protoreflect.FieldDescriptor {
	if fd := md.Fields().ByJSONName(key); fd != nil {
		return fd
	}
	return FieldByKey(md, key)
}

func (m *merger) field(field string, dst protoreflect.Message, fd protoreflect.FieldDescriptor, v *structpb.Value) {
	if _, null := v.GetKind().(*structpb.Value_NullValue); null {
		dst.Clear(fd)
		if !plainMessage(fd) {
			setDefault(dst, fd)
		}
		return
	}
	switch {
	case fd.IsList():
		m.list(field, dst, fd, v)
	case plainMessage(fd):
		if s, ok := m.table(field, v); ok {
			if !dst.Has(fd) {
				defaults(dst.Mutable(fd).Message())
			}
			m.message(field, dst.Mutable(fd).Message(), s)
		}
	default:
		if el, ok := m.scalar(field, fd, v); ok {
			dst.Set(fd, el)
		}
	}
}

func (m *merger) list(field string, dst protoreflect.Message, fd protoreflect.FieldDescriptor, v *structpb.Value) {
	l, ok := v.GetKind().(*structpb.Value_ListValue)
	if !ok {
		m.fail(field, fmt.Errorf("expected a list, got %s", Got(plain(v))))
		return
	}
	list := dst.NewField(fd).List()
	for i, e := range l.ListValue.GetValues() {
		at := element(field, i)
		if !plainMessage(fd) {
			if el, ok := m.scalar(at, fd, e); ok {
				list.Append(el)
			}
			continue
		}
		if s, ok := m.table(at, e); ok {
			el := list.NewElement()
			defaults(el.Message())
			m.message(at, el.Message(), s)
			list.Append(el)
		}
	}
	dst.Set(fd, protoreflect.ValueOfList(list))
}

func (m *merger) table(field string, v *structpb.Value) (*structpb.Struct, bool) {
	s, ok := v.GetKind().(*structpb.Value_StructValue)
	if !ok {
		m.fail(field, fmt.Errorf("expected a table, got %s", Got(plain(v))))
		return nil, false
	}
	return s.StructValue, true
}

func (m *merger) scalar(field string, fd protoreflect.FieldDescriptor, v *structpb.Value) (protoreflect.Value, bool) {
	got := plain(v)
	if text, ok := got.(string); ok && wide(fd.Kind()) {
		// JSON has no 64-bit integers: protojson writes them as strings.
		if el, err := parseText(fd, text); err == nil {
			return el, true
		}
	}
	if text, ok := got.(string); ok && fd.Kind() == protoreflect.DoubleKind {
		if f, err := strconv.ParseFloat(strings.TrimSpace(text), 64); err == nil && (math.IsNaN(f) || math.IsInf(f, 0)) {
			got = f
		}
	}
	el, err := Scalar(fd, got)
	if err != nil {
		m.fail(field, err)
		return el, false
	}
	return el, true
}

func wide(k protoreflect.Kind) bool {
	switch k {
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind,
		protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return true
	}
	return false
}

// plain returns the scalar in v as Scalar takes it.
func plain(v *structpb.Value) any {
	switch k := v.GetKind().(type) {
	case *structpb.Value_StringValue:
		return k.StringValue
	case *structpb.Value_NumberValue:
		if f := k.NumberValue; f == math.Trunc(f) && math.Abs(f) < 1<<63 {
			return int64(f)
		}
		return k.NumberValue
	case *structpb.Value_BoolValue:
		return k.BoolValue
	case *structpb.Value_StructValue:
		return k.StructValue
	case *structpb.Value_ListValue:
		return k.ListValue
	}
	return nil
}
