package device

import (
	"slices"
	"strconv"
	"strings"

	"gatewayd/cmd/gatewayd/exit"
)

// ParseUnits parses unit addresses from 1 to most, like 1-20,42. It returns them sorted and without
// duplicates.
func ParseUnits(text string, most int) ([]uint8, error) {
	var all []uint8
	for part := range strings.SplitSeq(text, ",") {
		from, to, ranged := strings.Cut(strings.TrimSpace(part), "-")
		if !ranged {
			to = from
		}
		first, err := strconv.Atoi(from)
		last, err2 := strconv.Atoi(to)
		if err != nil || err2 != nil || first < 1 || last > most || last < first {
			return nil, exit.Usage("units %q: %q is neither a unit address nor a range like 1-20; addresses are 1 to %d", text, part, most)
		}
		for u := first; u <= last; u++ {
			all = append(all, uint8(u))
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// UnitsText formats sorted unit addresses, like 1-20,42.
func UnitsText(units []uint8) string {
	var parts []string
	for i := 0; i < len(units); {
		j := i
		for j+1 < len(units) && units[j+1] == units[j]+1 {
			j++
		}
		part := strconv.Itoa(int(units[i]))
		if j > i {
			part += "-" + strconv.Itoa(int(units[j]))
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}
