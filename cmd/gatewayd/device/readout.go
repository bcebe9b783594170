package device

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"

	"gatewayd/cmd/gatewayd/terminal"
	"gatewayd/protocols/modbus/points"
)

// printReadings prints readings as a table.
func printReadings(w io.Writer, all []reading, s selection, f form) error {
	p := terminal.Painter(w)
	head := []string{"ADDRESS", "HEX", "VALUE"}
	if s.named {
		head = []string{"POINT", "AREA", "ADDRESS", "HEX", "VALUE"}
	}
	plainRegisters := !s.named && f == form{} && !s.points[0].Bits()
	if plainRegisters {
		head = append(head, "SIGNED")
	}
	rows := [][]terminal.Cell{terminal.Row(head...)}
	for _, r := range all {
		if r.unread() && !s.named {
			continue // reported by the command's error
		}
		row := terminal.Row(r.point.Name, hexText(r.data))
		if s.named {
			row = terminal.Row(r.point.Name, r.point.Area, strconv.Itoa(int(r.point.Address)), hexText(r.data))
			if r.point.Area == "" {
				row = terminal.Row(r.point.Name, "computed", "", "")
			}
		}
		row = append(row, r.cell())
		if plainRegisters {
			u, _ := r.value.Uint64()
			row = append(row, terminal.Cell{Text: strconv.Itoa(int(int16(u)))})
		}
		rows = append(rows, row)
	}
	return terminal.Table(w, p, rows)
}

// cell returns the value with its unit and label, or the error.
func (r reading) cell() terminal.Cell {
	if r.err != nil {
		return terminal.Cell{Text: r.err.Error(), Colour: terminal.Yellow}
	}
	text := r.value.String()
	if r.point.Unit != "" {
		text += " " + r.point.Unit
	}
	if name := r.point.Label(r.value); name != "" {
		text += " (" + name + ")"
	}
	return terminal.Cell{Text: text}
}

// shownWords is how many registers of a value are shown in hexadecimal.
const shownWords = 4

func hexText(data []byte) string {
	var parts []string
	for word := range slices.Chunk(data, 2) {
		if len(parts) == shownWords {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, hex.EncodeToString(word))
	}
	return strings.Join(parts, " ")
}

// readingsJSON prints one JSON object per reading.
func readingsJSON(w io.Writer, all []reading, named bool) error {
	type row struct {
		Point   string  `json:"point,omitempty"`
		Area    string  `json:"area"`
		Address *uint16 `json:"address,omitempty"`
		Hex     string  `json:"hex,omitempty"`
		Value   any     `json:"value,omitempty"`
		Label   string  `json:"label,omitempty"`
		Unit    string  `json:"unit,omitempty"`
		Cause   string  `json:"cause,omitempty"`
	}
	out := json.NewEncoder(w)
	for _, r := range all {
		one := row{Area: r.point.Area, Address: &r.point.Address, Hex: hex.EncodeToString(r.data), Unit: r.point.Unit}
		if r.point.Area == "" {
			one.Area, one.Address = "computed", nil
		}
		if named {
			one.Point = r.point.Name
		}
		if r.err != nil {
			one.Cause = r.err.Error()
		} else {
			one.Value, one.Label = jsonValue(r.value), r.point.Label(r.value)
		}
		if err := out.Encode(one); err != nil {
			return err
		}
	}
	return nil
}

// jsonValue returns a number, a boolean or a string. Integers keep all their digits.
func jsonValue(v points.Value) any {
	if b, ok := v.Bool(); ok {
		return b
	}
	if _, ok := v.Float64(); ok {
		return json.Number(v.String())
	}
	return v.String()
}
