package fleet

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// portion is a part of a fleet: a number of gateways or a percentage.
type portion struct {
	n       int
	percent float64 // used if it is not 0
}

// Set implements pflag.Value.
func (s *portion) Set(text string) (err error) {
	if p, ok := strings.CutSuffix(text, "%"); ok {
		s.n = 0
		if s.percent, err = strconv.ParseFloat(p, 64); err != nil || !(s.percent > 0 && s.percent <= 100) {
			return fmt.Errorf("%q: want a percentage of all like 5%%, or a number of gateways", text)
		}
		return nil
	}
	s.percent = 0
	if s.n, err = strconv.Atoi(text); err != nil || s.n < 1 {
		return fmt.Errorf("%q: want a number of gateways, or a percentage of all like 5%%", text)
	}
	return nil
}

func (s *portion) String() string {
	if s.percent > 0 {
		return strconv.FormatFloat(s.percent, 'f', -1, 64) + "%"
	}
	return strconv.Itoa(s.n)
}

// Type implements pflag.Value.
func (s *portion) Type() string { return "portion" }

// of returns the portion of all gateways as a number, at least 1.
func (s *portion) of(all int) int {
	n := s.n
	if s.percent > 0 {
		n = int(float64(all)*s.percent/100 + 0.999999)
	}
	return min(max(n, 1), all)
}

// waves divides gateways into the canaries and the waves that follow. The order is derived from the
// text and the ids: an interrupted push of the same text goes on where it was, while another text
// has other canaries, so that the risk is not always borne by the same sites.
func waves(ids []string, text []byte, canary, rest portion) (all [][]string) {
	order := slices.Clone(ids)
	rank := func(id string) []byte {
		h := sha256.Sum256(append([]byte(id+"\n"), text...))
		return h[:]
	}
	slices.SortFunc(order, func(a, b string) int { return bytes.Compare(rank(a), rank(b)) })
	for n := canary.of(len(order)); len(order) > 0; n = min(rest.of(len(ids)), len(order)) {
		wave := slices.Sorted(slices.Values(order[:n]))
		all, order = append(all, wave), order[n:]
	}
	return all
}
