package uplink_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"gatewayd/protocols/uplink"
)

// link is a simulated link with a round trip and a rate in bytes per second.
type link struct {
	trip  time.Duration
	speed float64
}

func (l link) takes(bytes int) time.Duration {
	return l.trip + time.Duration(float64(bytes)/l.speed*float64(time.Second))
}

// fill sends batches of the largest allowed size, with records of a given size.
func fill(p uplink.Pace, b uplink.Portions, l link, batches, size int) uplink.Pace {
	for range batches {
		records, bytes := p.Batch(b)
		n := max(min(records, bytes/size), 1)
		p = p.Sent(b, n, n*size, l.takes(n*size), true)
	}
	return p
}

var portions = uplink.Portions{Records: 500, Bytes: 256 << 10, Flush: time.Second, Slow: 4000, Crawl: 500}

func TestPaceFindsTheLink(t *testing.T) {
	for name, tt := range map[string]struct {
		link
		records [2]int // of the last batch
		strain  uplink.Strain
	}{
		"a LAN":         {link{time.Millisecond, 10e6}, [2]int{500, 500}, uplink.Free},
		"LTE":           {link{60 * time.Millisecond, 500e3}, [2]int{500, 500}, uplink.Free},
		"a satellite":   {link{700 * time.Millisecond, 50e3}, [2]int{200, 500}, uplink.Free},
		"CAT-M, bad":    {link{1500 * time.Millisecond, 2000}, [2]int{1, 40}, uplink.Slow},
		"nearly gone":   {link{3 * time.Second, 50}, [2]int{1, 2}, uplink.Crawl},
		"2G, good spot": {link{800 * time.Millisecond, 12e3}, [2]int{60, 250}, uplink.Free},
	} {
		t.Run(name, func(t *testing.T) {
			p := fill(uplink.Pace{}, portions, tt.link, 60, 100)
			if n, _ := p.Batch(portions); n < tt.records[0] || n > tt.records[1] || p.Strain() != tt.strain {
				t.Errorf("%d records, strain %v: %+v", n, p.Strain(), p)
			}
			if flush := p.Flush(portions); flush < time.Second || flush < 3*tt.trip {
				t.Errorf("flush %s at trips of %s", flush, tt.trip)
			}
			// It recovers when the link is good again.
			p = fill(p, portions, link{20 * time.Millisecond, 1e6}, 60, 100)
			if n, _ := p.Batch(portions); n != 500 || p.Strain() != uplink.Free {
				t.Errorf("%d records, strain %v: %+v", n, p.Strain(), p)
			}
		})
	}
}

// Few records over a long round trip do not make a slow link.
func TestPaceOfFewRecords(t *testing.T) {
	for _, trip := range []time.Duration{600 * time.Millisecond, 1500 * time.Millisecond} {
		var p uplink.Pace
		for range 100 {
			p = p.Sent(portions, 1, 100, trip, true)
		}
		if p.Strain() != uplink.Free || p.Flush(portions) > 5*trip {
			t.Errorf("trips of %s: %+v", trip, p)
		}
	}
}

func TestPaceAfterFailures(t *testing.T) {
	p := fill(uplink.Pace{}, portions, link{time.Millisecond, 10e3}, 20, 100)
	before, _ := p.Batch(portions)
	after, _ := p.Failed(before * 100).Batch(portions)
	if after > before/3 || after < 1 {
		t.Errorf("%d, then %d", before, after)
	}
	if n, _ := (uplink.Pace{}).Failed(100).Batch(portions); n != 1 {
		t.Errorf("%d records before anything is known but a failure", n)
	}
}

// A long round trip is not mistaken for a slow link after one or many batches have failed, and the
// link is filled again.
func TestPaceOfAFarWayAfterFailures(t *testing.T) {
	for _, trip := range []time.Duration{600 * time.Millisecond, 1200 * time.Millisecond, 3 * time.Second} {
		for _, failures := range []int{1, 10} {
			for name, p := range map[string]uplink.Pace{"new": {}, "known": fill(uplink.Pace{}, portions, link{trip, 1e6}, 40, 100)} {
				for range failures {
					p = p.Failed(100)
				}
				for range 200 {
					if p = fill(p, portions, link{trip, 1e6}, 1, 100); p.Strain() != uplink.Free {
						t.Fatalf("%s, trips of %s, %d failures: strain %v: %+v", name, trip, failures, p.Strain(), p)
					}
				}
				if n, _ := p.Batch(portions); n != 500 {
					t.Errorf("%s, trips of %s, %d failures: %d records: %+v", name, trip, failures, n, p)
				}
			}
		}
	}
}

// Nor does a slow link count as crawling because a batch was small after a failure.
func TestPaceOfASlowLinkAfterAFailure(t *testing.T) {
	l := link{3 * time.Second, 8e3}
	p := fill(uplink.Pace{}, portions, l, 40, 100)
	if p.Strain() != uplink.Slow {
		t.Fatalf("%+v", p)
	}
	p = p.Failed(100)
	for range 40 {
		if p = fill(p, portions, l, 1, 100); p.Strain() != uplink.Slow {
			t.Fatalf("strain %v: %+v", p.Strain(), p)
		}
	}
}

// A fast link that suddenly carries hardly anything, as when LTE falls back to CAT-M, is recognised
// before hours and a budget are spent on batches that never arrive.
func TestPaceOfALinkThatBreaksDown(t *testing.T) {
	const size, timeout = 190, 30 * time.Second
	p := fill(uplink.Pace{}, portions, link{time.Millisecond, 40e6}, 20, size)
	slow := link{300 * time.Millisecond, 2000}
	var lasted time.Duration
	failures, good := 0, 0
	for good < 4 {
		records, bytes := p.Batch(portions)
		n := max(min(records, bytes/size), 1)
		took := slow.takes(n * size)
		if took > timeout {
			if failures++; failures > 2 {
				t.Fatalf("%d batches that could not arrive, and the next one has %d records: %+v", failures, n, p)
			}
			lasted += timeout
			p = p.Failed(n * size)
			continue
		}
		lasted += took
		good++
		p = p.Sent(portions, n, n*size, took, true)
	}
	if records, _ := p.Batch(portions); lasted > 2*time.Minute || records > 3*2*2000/size || p.Strain() != uplink.Slow {
		t.Errorf("after %s batches have %d records, strain %v: %+v", lasted, records, p.Strain(), p)
	}
}

func TestPaceProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := uplink.Portions{
			Records: rapid.IntRange(1, 5000).Draw(t, "records"), Bytes: rapid.IntRange(1, 1<<20).Draw(t, "bytes"),
			Flush: time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "flush")), Slow: rapid.Float64Range(0, 1e5).Draw(t, "slow"),
		}
		b.Crawl = b.Slow * rapid.Float64Range(0, 1).Draw(t, "crawl")
		var p uplink.Pace
		for range rapid.IntRange(0, 50).Draw(t, "batches") {
			if rapid.IntRange(0, 9).Draw(t, "fails") == 0 {
				p = p.Failed(rapid.IntRange(0, 1<<20).Draw(t, "failed"))
			} else {
				n := rapid.IntRange(0, 6000).Draw(t, "n")
				p = p.Sent(b, n, n*rapid.IntRange(1, 500).Draw(t, "size"), time.Duration(rapid.Int64Range(-1, int64(time.Hour)).Draw(t, "took")), rapid.Bool().Draw(t, "alone"))
			}
			records, bytes := p.Batch(b)
			flush := p.Flush(b)
			if records < 1 || records > b.Records || bytes < 1 || bytes > b.Bytes || flush < b.Flush || flush > max(b.Flush, 10*time.Minute) || p.Trip < 0 {
				t.Fatalf("%d records, %d bytes, flush %s: %+v", records, bytes, flush, p)
			}
			if p.Strain() == uplink.Slow && b.Slow == 0 || p.Strain() == uplink.Crawl && b.Crawl == 0 {
				t.Fatal("slow, though no link is")
			}
		}
	})
}
