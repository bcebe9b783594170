package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"gatewayd/bus"
)

// printAnswer prints a JSON object for people: a line per field, lists of
// objects as tables.
func printAnswer(w io.Writer, text []byte) error {
	fields, err := fieldsOf(text)
	if err != nil || len(fields) == 0 {
		_, err = fmt.Fprintln(w, "done")
		return err
	}
	p := painter(w)
	var rows [][]cell
	flush := func() error {
		if rows == nil {
			return nil
		}
		err := table(w, p, append([][]cell{plain("FIELD", "VALUE")}, rows...))
		rows = nil
		return err
	}
	for _, f := range fields {
		list, text := objectsOf(f.value), textOf(f.value)
		if list == nil && text == "" {
			rows = append(rows, plain(f.name, flat(f.value)))
			continue
		}
		if err := flush(); err != nil {
			return err
		}
		fmt.Fprintln(w, p.in(bold, f.name+":"))
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

// textOf is a text of several lines, a config for instance; empty for all else.
func textOf(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) != nil || !strings.Contains(text, "\n") {
		return ""
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, l := range lines {
		lines[i] = strings.Map(printable, l)
	}
	return strings.Join(lines, "\n")
}

// widest is the most of a value that is shown in a list.
const widest = 60

// printList prints a list of objects, a column per field.
func printList(w io.Writer, p paint, list [][]field) error {
	var heads []string
	column := map[string]int{}
	for _, object := range list {
		for _, f := range object {
			if _, known := column[f.name]; !known {
				column[f.name] = len(heads)
				heads = append(heads, strings.ToUpper(f.name))
			}
		}
	}
	rows := [][]cell{plain(heads...)}
	for _, object := range list {
		row := make([]cell, len(heads))
		for _, f := range object {
			text := []rune(flat(f.value))
			if len(text) > widest {
				text = append(text[:widest-1], '…')
			}
			row[column[f.name]].text = string(text)
		}
		rows = append(rows, row)
	}
	return table(w, p, rows)
}

// field is one member of a JSON object.
type field struct {
	name  string
	value json.RawMessage
}

// fieldsOf takes a JSON object apart, in its own order.
func fieldsOf(text []byte) ([]field, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("no object: %w", err)
	}
	var all []field
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		f := field{name: strings.Map(printable, fmt.Sprint(name))}
		if err := dec.Decode(&f.value); err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// objectsOf is a list of objects, or nil.
func objectsOf(value json.RawMessage) [][]field {
	var list []json.RawMessage
	if json.Unmarshal(value, &list) != nil || len(list) == 0 {
		return nil
	}
	var all [][]field
	for _, one := range list {
		fields, err := fieldsOf(one)
		if err != nil {
			return nil
		}
		all = append(all, fields)
	}
	return all
}

// flat is a value in one line: a text without its quotes, a list with commas,
// the rest as it is.
func flat(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return strings.Map(printable, text)
	}
	var list []json.RawMessage
	if json.Unmarshal(value, &list) == nil {
		parts := make([]string, len(list))
		for i, one := range list {
			parts[i] = flat(one)
		}
		return strings.Join(parts, ", ")
	}
	return strings.Map(printable, string(compact(value)))
}

// asJSON is a payload as a JSON value: itself, or a text.
func asJSON(m bus.Msg) any {
	if json.Valid(m.Data) {
		return json.RawMessage(m.Data)
	}
	return asText(m)
}

func asText(m bus.Msg) string {
	if m.ContentType != bus.JSON {
		return fmt.Sprintf("(%d bytes of %s)", len(m.Data), m.ContentType)
	}
	return strings.Map(printable, string(compact(m.Data)))
}

// compact is a JSON text without spaces: protojson puts some in at random, lest
// anybody relies on them.
func compact(text []byte) []byte {
	var b bytes.Buffer
	if json.Compact(&b, text) != nil {
		return text
	}
	return b.Bytes()
}

// printable keeps a payload on its line and away from the terminal's controls.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
		return ' '
	}
	return r
}

// firstSentence is a doc comment in short, on one line.
func firstSentence(doc string) string {
	doc = strings.Join(strings.Fields(doc), " ")
	if i := strings.Index(doc, ". "); i >= 0 {
		return doc[:i+1]
	}
	return doc
}
