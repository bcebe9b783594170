package terminal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"gatewayd/bus"
)

// PrintAnswer prints a JSON object for people: one line per field, lists of objects as tables.
func PrintAnswer(w io.Writer, text []byte) error {
	fields, err := FieldsOf(text)
	if err != nil || len(fields) == 0 {
		_, err = fmt.Fprintln(w, "done")
		return err
	}
	p := Painter(w)
	var rows [][]Cell
	flush := func() error {
		if rows == nil {
			return nil
		}
		err := Table(w, p, append([][]Cell{Row("FIELD", "VALUE")}, rows...))
		rows = nil
		return err
	}
	for _, f := range fields {
		list, text := objectsOf(f.Value), textOf(f.Value)
		if list == nil && text == "" {
			rows = append(rows, Row(f.Name, Flat(f.Value)))
			continue
		}
		if err := flush(); err != nil {
			return err
		}
		fmt.Fprintln(w, p.In(Bold, f.Name+":"))
		if text != "" {
			_, err = fmt.Fprintln(w, text)
		} else {
			err = printList(w, p, list)
		}
		if err != nil {
			return err
		}
	}
	return flush()
}

// textOf returns a string of several lines, such as a config; empty for any other value.
func textOf(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) != nil || !strings.Contains(text, "\n") {
		return ""
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, l := range lines {
		lines[i] = strings.Map(Printable, l)
	}
	return strings.Join(lines, "\n")
}

// Widest is the number of characters after which a value in a list is cut.
const Widest = 60

// printList prints a list of objects as a table with one column per field.
func printList(w io.Writer, p Paint, list [][]Field) error {
	var heads []string
	column := map[string]int{}
	for _, object := range list {
		for _, f := range object {
			if _, known := column[f.Name]; !known {
				column[f.Name] = len(heads)
				heads = append(heads, strings.ToUpper(f.Name))
			}
		}
	}
	rows := [][]Cell{Row(heads...)}
	for _, object := range list {
		row := make([]Cell, len(heads))
		for _, f := range object {
			text := []rune(Flat(f.Value))
			if len(text) > Widest {
				text = append(text[:Widest-1], '…')
			}
			row[column[f.Name]].Text = string(text)
		}
		rows = append(rows, row)
	}
	return Table(w, p, rows)
}

// Field is one member of a JSON object.
type Field struct {
	Name  string
	Value json.RawMessage
}

// FieldsOf returns the members of a JSON object in their order.
func FieldsOf(text []byte) ([]Field, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	var all []Field
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		f := Field{Name: strings.Map(Printable, fmt.Sprint(name))}
		if err := dec.Decode(&f.Value); err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// objectsOf returns the elements of a list of objects; nil for any other value.
func objectsOf(value json.RawMessage) [][]Field {
	var list []json.RawMessage
	if json.Unmarshal(value, &list) != nil || len(list) == 0 {
		return nil
	}
	var all [][]Field
	for _, one := range list {
		fields, err := FieldsOf(one)
		if err != nil {
			return nil
		}
		all = append(all, fields)
	}
	return all
}

// Flat formats a value in one line: a string without its quotes, a list with commas, anything else
// as JSON.
func Flat(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return strings.Map(Printable, text)
	}
	var list []json.RawMessage
	if json.Unmarshal(value, &list) == nil {
		parts := make([]string, len(list))
		for i, one := range list {
			parts[i] = Flat(one)
		}
		return strings.Join(parts, ", ")
	}
	return strings.Map(Printable, string(Compact(value)))
}

// JSON returns a payload as a JSON value: itself, or a string if it is not JSON.
func JSON(m bus.Msg) any {
	if json.Valid(m.Data) {
		return json.RawMessage(m.Data)
	}
	return Text(m)
}

// Text returns a payload in one line.
func Text(m bus.Msg) string {
	if m.ContentType != bus.JSON {
		return fmt.Sprintf("(%d bytes of %s)", len(m.Data), m.ContentType)
	}
	return strings.Map(Printable, string(Compact(m.Data)))
}

// Compact removes the spaces from a JSON text. protojson inserts some at random, so that nobody
// relies on its exact output.
func Compact(text []byte) []byte {
	var b bytes.Buffer
	if json.Compact(&b, text) != nil {
		return text
	}
	return b.Bytes()
}

// Printable maps control characters to spaces, so that a payload stays on its line and cannot
// control the terminal.
func Printable(r rune) rune {
	if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
		return ' '
	}
	return r
}

// FirstSentence returns the first sentence of a doc comment, in one line.
func FirstSentence(doc string) string {
	doc = strings.Join(strings.Fields(doc), " ")
	if i := strings.Index(doc, ". "); i >= 0 {
		return doc[:i+1]
	}
	return doc
}
