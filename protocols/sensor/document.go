package sensor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// document is a payload that is parsed when first needed.
type document struct {
	payload []byte
	most    int // largest accepted size in bytes
	parsed  bool
	tree    any
	err     error
}

// at returns the value at a path; there is false if the document does not contain it. Numbers are
// json.Number, with all digits.
func (d *document) at(p Path) (v any, there bool, err error) {
	switch {
	case len(d.payload) > d.most:
		return nil, false, fmt.Errorf("payload of %d bytes: at most %d are allowed", len(d.payload), d.most)
	case len(p) == 0:
		if !utf8.Valid(d.payload) {
			return nil, false, errors.New("payload is not UTF-8 text")
		}
		return strings.TrimSpace(string(d.payload)), true, nil
	}
	if !d.parsed {
		d.parsed = true
		d.tree, d.err = parse(d.payload)
	}
	if d.err != nil {
		return nil, false, d.err
	}
	v, there = p.in(d.tree)
	return v, there, nil
}

func parse(payload []byte) (any, error) {
	if !utf8.Valid(payload) {
		// encoding/json would replace the characters.
		return nil, errors.New("payload is not UTF-8 text")
	}
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, fmt.Errorf("payload is not JSON: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("payload is not JSON: text after the end")
	}
	return tree, nil
}

// word returns a scalar as text; ok is false for objects, arrays and null.
func word(v any) (text string, ok bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		if v {
			return "true", true
		}
		return "false", true
	}
	return "", false
}
