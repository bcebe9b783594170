package points

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func register(address uint16) Point {
	return Point{Name: "r", Area: Holding, Address: address, Type: Uint16}
}

func coil(address uint16) Point { return Point{Name: "c", Area: Coil, Address: address, Type: Bool} }

func run(n int, point func(uint16) Point) []Point {
	var points []Point
	for i := range n {
		points = append(points, point(uint16(i)))
	}
	return points
}

func shape(reads []Read) string {
	var s []string
	for _, r := range reads {
		s = append(s, fmt.Sprintf("%s %d+%d:%d", r.Area, r.Address, r.Quantity, len(r.Points)))
	}
	return strings.Join(s, ", ")
}

func TestPlan(t *testing.T) {
	long := func(address uint16) Point {
		return Point{Area: Holding, Address: address, Type: String, Length: 10}
	}
	tests := []struct {
		name   string
		points []Point
		limits Limits
		want   string
	}{
		{"nothing", nil, Limits{}, ""},
		{"neighbours", run(3, register), Limits{}, "holding 0+3:3"},
		{"two adjacent coils", run(2, coil), Limits{}, "coil 0+2:2"},
		{"200 registers", run(200, register), Limits{}, "holding 0+75:75, holding 75+125:125"},
		{"2001 coils", run(2001, coil), Limits{}, "coil 0+1:1, coil 1+2000:2000"},
		{"unordered", []Point{register(2), register(0), register(1)}, Limits{}, "holding 0+3:3"},
		{"a gap is not read", []Point{register(0), register(2)}, Limits{}, "holding 0+1:1, holding 2+1:1"},
		{"a gap is read", []Point{register(0), register(2)}, Limits{Gap: 1}, "holding 0+3:2"},
		{"a hole is not", []Point{register(0), register(2)}, Limits{Gap: 5, Holes: []Range{{Holding, 1, 1}}}, "holding 0+1:1, holding 2+1:1"},
		{"a hole elsewhere", []Point{register(0), register(2)}, Limits{Gap: 5, Holes: []Range{{Input, 1, 1}}}, "holding 0+3:2"},
		{"one per point", run(3, register), Limits{OnePerPoint: true}, "holding 0+1:1, holding 1+1:1, holding 2+1:1"},
		{"one for bits of one register", []Point{{Area: Holding, Type: Bool, Bit: bit(3)}, long(0), {Area: Holding, Type: Bool, Bit: bit(4)}, register(0)}, Limits{OnePerPoint: true, MaxRegisters: 10}, "holding 0+1:3, holding 0+10:1"},
		{"never split", []Point{register(0), long(1)}, Limits{MaxRegisters: 10}, "holding 0+1:1, holding 1+10:1"},
		{"cut at the gap", []Point{register(0), register(1), register(5), register(6), register(9)}, Limits{MaxRegisters: 6, Gap: 9}, "holding 0+2:2, holding 5+5:3"},
		{"same register", []Point{register(0), {Area: Holding, Type: Bool, Bit: bit(3)}}, Limits{}, "holding 0+1:2"},
		{"areas apart", []Point{register(0), coil(0)}, Limits{}, "coil 0+1:1, holding 0+1:1"},
		{"coils from zero", []Point{coil(40), coil(9)}, Limits{FromZero: true}, "coil 0+41:2"},
		{"last register", []Point{register(65535)}, Limits{}, "holding 65535+1:1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reads, err := Plan(tt.points, tt.limits)
			if got := shape(reads); err != nil || got != tt.want {
				t.Fatalf("got %s, %v, want %s", got, err, tt.want)
			}
		})
	}
}

func TestPlanRefuses(t *testing.T) {
	for want, plan := range map[string]struct {
		points []Point
		limits Limits
	}{
		"max registers 126":                   {nil, Limits{MaxRegisters: 126}},
		"max bits 2001":                       {nil, Limits{MaxBits: 2001}},
		"gap -1":                              {nil, Limits{Gap: -1}},
		"ends before it starts":               {nil, Limits{Holes: []Range{{Holding, 3, 2}}}},
		"not one of coil":                     {nil, Limits{Holes: []Range{{"", 1, 2}}}},
		`point "r": its addresses holding 5`:  {[]Point{register(5)}, Limits{Holes: []Range{{Holding, 5, 9}}}},
		"are 2, but one read is limited to 1": {[]Point{{Area: Input, Type: Int32}}, Limits{MaxRegisters: 1}},
		"overlap the hole 3 to 5":             {[]Point{register(5)}, Limits{Holes: []Range{{Holding, 3, 5}}}},
		"overlap the hole 7 to 8":             {[]Point{register(1), {Area: Holding, Address: 4, Type: Uint64}}, Limits{Holes: []Range{{Holding, 7, 8}}}},
		"are 41":                              {[]Point{coil(40)}, Limits{MaxBits: 40, FromZero: true}},
		"cannot be":                           {[]Point{{Area: Coil, Type: Int16}}, Limits{}},
	} {
		if reads, err := Plan(plan.points, plan.limits); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, %v, want …%s…", reads, err, want)
		}
	}
}

func drawPlan(t *rapid.T, most, addresses int) ([]Point, Limits) {
	points := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Point {
		area := rapid.SampledFrom([]string{Holding, Holding, Holding, Coil}).Draw(t, "area")
		form := Bool
		if area == Holding {
			form = rapid.SampledFrom(Types()).Draw(t, "type")
		}
		p := Point{Name: "p", Area: area, Type: form, Address: uint16(rapid.IntRange(0, addresses).Draw(t, "address"))}
		if form == String || form == Bytes {
			p.Length = rapid.IntRange(1, 6).Draw(t, "length")
		}
		return p
	}), 0, most).Draw(t, "points")
	limits := Limits{
		MaxRegisters: rapid.IntRange(6, 12).Draw(t, "max registers"),
		MaxBits:      rapid.IntRange(1, 9).Draw(t, "max bits"),
		Gap:          rapid.IntRange(0, 4).Draw(t, "gap"),
		OnePerPoint:  rapid.IntRange(0, 9).Draw(t, "one") == 0,
	}
	for range rapid.IntRange(0, 2).Draw(t, "holes") {
		first := uint16(rapid.IntRange(0, addresses).Draw(t, "first"))
		hole := Range{Holding, first, first + uint16(rapid.IntRange(0, 2).Draw(t, "more"))}
		free := true
		for _, p := range points {
			free = free && (p.Area != Holding || int(p.Address) > int(hole.Last) || int(p.Address)+p.span() <= int(hole.First))
		}
		if free {
			limits.Holes = append(limits.Holes, hole)
		}
	}
	return points, limits
}

// bears reports whether a unit with these limits answers the read of these points; the reference
// for Plan.
func bears(points []Point, members []int, l Limits) (load int, ok bool) {
	first, end := 1<<20, 0
	covered := map[int]bool{}
	for _, i := range members {
		p, one := points[i], points[members[0]]
		if p.Area != one.Area || l.OnePerPoint && (p.Address != one.Address || p.span() != one.span()) {
			return 0, false
		}
		first, end = min(first, int(p.Address)), max(end, int(p.Address)+p.span())
		for a := int(p.Address); a < int(p.Address)+p.span(); a++ {
			covered[a] = true
		}
	}
	hollow := 0
	for a := first; a < end; a++ {
		hollow++
		if covered[a] {
			hollow = 0
		}
		for _, h := range l.Holes {
			if h.Area == points[members[0]].Area && a >= int(h.First) && a <= int(h.Last) {
				return 0, false
			}
		}
		if hollow > l.Gap {
			return 0, false
		}
	}
	return end - first, end-first <= l.most(points[members[0]].Area)
}

func TestPlanCoversEveryPointOnceWithinTheLimits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		points, limits := drawPlan(t, 40, 60)
		reads, err := Plan(points, limits)
		if err != nil {
			t.Fatal(err)
		}
		again, _ := Plan(points, limits)
		if !reflect.DeepEqual(reads, again) {
			t.Fatal("two plans of the same points differ")
		}
		seen := make([]int, len(points))
		for _, r := range reads {
			var members []int
			for _, ref := range r.Points {
				seen[ref.Index]++
				members = append(members, ref.Index)
				if p := points[ref.Index]; int(r.Address)+ref.Offset != int(p.Address) || ref.Offset+p.span() > int(r.Quantity) {
					t.Fatalf("%+v does not hold %+v", r, p)
				}
			}
			if load, ok := bears(points, members, limits); !ok || load != int(r.Quantity) {
				t.Fatalf("%+v is beyond %+v", r, limits)
			}
		}
		for i, n := range seen {
			if n != 1 {
				t.Fatalf("point %d is read %d times", i, n)
			}
		}
	})
}

// No other way to distribute the points over reads takes fewer reads, or as few reads with a
// smaller load.
func TestPlanIsTheBestOfAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		points, limits := drawPlan(t, 7, 20)
		reads, err := Plan(points, limits)
		if err != nil {
			t.Fatal(err)
		}
		got := cost{reads: len(reads)}
		for _, r := range reads {
			got.load += int(r.Quantity)
		}
		if best := brute(points, limits, 0, nil, cost{reads: 1 << 20}); got != best {
			t.Fatalf("%s costs %+v, the best is %+v", shape(reads), got, best)
		}
	})
}

func brute(points []Point, l Limits, i int, sets [][]int, best cost) cost {
	if i == len(points) {
		c := cost{reads: len(sets)}
		for _, set := range sets {
			load, ok := bears(points, set, l)
			if !ok {
				return best
			}
			c.load += load
		}
		if c.less(best) {
			return c
		}
		return best
	}
	for k := range sets {
		sets[k] = append(sets[k], i)
		best = brute(points, l, i+1, sets, best)
		sets[k] = sets[k][:len(sets[k])-1]
	}
	return brute(points, l, i+1, append(sets, []int{i}), best)
}

// Each point gets the same value as if it had been read alone.
func TestExtractGivesWhatEachPointWouldReadAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		points, limits := drawPlan(t, 20, 40)
		memory := rapid.SliceOfN(rapid.Byte(), 128, 128).Draw(t, "memory")
		reads, err := Plan(points, limits)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range reads {
			all, err := Extract(r, points, serve(r, memory))
			if err != nil {
				t.Fatal(err)
			}
			results := slices.Collect(all.All)
			if len(results) != len(r.Points) {
				t.Fatal(results)
			}
			for _, got := range results {
				p := points[got.Index]
				alone := Read{Area: p.Area, Address: p.Address, Quantity: uint16(p.span())}
				want, err := p.Decode(serve(alone, memory))
				if got.Value != want || (err == nil) != (got.Err == nil) {
					t.Fatalf("%+v: got %v, %v, alone %v, %v", p, got.Value, got.Err, want, err)
				}
			}
			if _, err := Extract(r, points, append(serve(r, memory), 0)); err == nil {
				t.Fatal("a longer answer was taken")
			}
		}
	})
}

// serve answers a read like a unit whose registers and coils share the same memory.
func serve(r Read, memory []byte) []byte {
	if r.Area == Holding {
		return append([]byte{}, memory[2*int(r.Address):2*(int(r.Address)+int(r.Quantity))]...)
	}
	data := make([]byte, (int(r.Quantity)+7)/8)
	for i := range int(r.Quantity) {
		at := int(r.Address) + i
		data[i/8] |= memory[at/8] >> (at % 8) & 1 << (i % 8)
	}
	return data
}

// Bisecting refused reads ends with each point, or each group of overlapping points, alone, and
// loses none.
func TestHalvesKeepEveryPoint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		points, limits := drawPlan(t, 20, 30)
		reads, err := Plan(points, limits)
		if err != nil {
			t.Fatal(err)
		}
		seen := make([]int, len(points))
		for len(reads) > 0 {
			r := reads[0]
			reads = reads[1:]
			left, right, ok := r.Halves(points)
			if ok {
				if len(left.Points) == 0 || len(right.Points) == 0 || left.Quantity > r.Quantity || right.Quantity > r.Quantity {
					t.Fatalf("%+v became %+v and %+v", r, left, right)
				}
				reads = append(reads, left, right)
				continue
			}
			for _, ref := range r.Points {
				seen[ref.Index]++
			}
		}
		for i, n := range seen {
			if n != 1 {
				t.Fatalf("point %d is left %d times", i, n)
			}
		}
	})
}

func FuzzExtract(f *testing.F) {
	f.Add([]byte{1, 2, 3}, uint16(0), uint16(2), 1)
	f.Fuzz(func(t *testing.T, data []byte, address, quantity uint16, offset int) {
		points := []Point{{Area: Holding, Address: address, Type: Int32}, {Area: Coil, Address: address, Type: Bool}}
		for i, p := range points {
			all, err := Extract(Read{Area: p.Area, Address: address, Quantity: quantity, Points: []Ref{{i, offset}}}, points, data)
			if err != nil {
				continue
			}
			for got := range all.All {
				if got.Index != i {
					t.Fatal(got)
				}
			}
		}
	})
}

func BenchmarkExtract(b *testing.B) {
	points := run(125, register)
	reads, err := Plan(points, Limits{})
	if err != nil || len(reads) != 1 {
		b.Fatal(reads, err)
	}
	data := make([]byte, 250)
	b.ReportAllocs()
	for b.Loop() {
		all, err := Extract(reads[0], points, data)
		if err != nil {
			b.Fatal(err)
		}
		for got := range all.All {
			if got.Err != nil {
				b.Fatal(got.Err)
			}
		}
	}
}
