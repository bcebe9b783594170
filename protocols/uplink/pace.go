package uplink

import "time"

// Portions are the limits within which a Pace works.
type Portions struct {
	Records int           // per batch at most
	Bytes   int           // approximate bytes of records per batch at most
	Flush   time.Duration // how long records wait for a batch to fill up, at least
	Slow    float64       // bytes per second below which the link counts as slow; 0: never
	Crawl   float64       // bytes per second below which it crawls; at most Slow. 0: never
}

// Strain says how much a link is overloaded.
type Strain uint8

// Free: the link carries everything. Slow: it gets nothing of low priority. Crawl: it gets only
// what has high priority.
const (
	Free Strain = iota
	Slow
	Crawl
)

// A Pace learns the capacity of a link from what is sent. It is a value; the caller provides the
// times.
type Pace struct {
	Goodput float64       // bytes acknowledged per second, smoothed; 0: not measured yet
	Trip    time.Duration // time of a small batch, which is mostly waiting
	Size    float64       // bytes per record, smoothed
	failed  bool          // since the last successful batch
	strain  Strain
	wait    time.Duration // time of a batch independent of its size
	told    bool          // wait is known from batches of different sizes
	mark    mark          // for comparison with the next batches
	single  int           // consecutive batches limited to one record
}

// mark is a batch that was acknowledged.
type mark struct {
	bytes int
	took  time.Duration
}

const (
	airtime  = 2 * time.Second  // how long a batch may take on the link, without waiting
	weight   = 0.25             // of the newest measurement
	steep    = 0.75             // the same, after a batch that took much too long
	trips    = 4                // round trips between batches, so that the link does more than wait for answers
	longest  = 10 * time.Minute // between batches, on any link
	recovery = 1.25             // factor by which a slow link must exceed the limit to count as recovered
	unproven = 64               // records per batch while nothing is known about the link
	patience = 8                // consecutive single records before trying whether two take as long
)

// Sent returns p after a batch was acknowledged. took is the time from when the link was free for
// it to its acknowledgement; alone means that no other batch was under way.
func (p Pace) Sent(b Portions, records, bytes int, took time.Duration, alone bool) Pace {
	took = max(took, 10*time.Microsecond)
	_, most := p.Batch(b)
	filled := bytes >= most/2
	rate := float64(bytes) / took.Seconds()
	if alone {
		p = p.compare(mark{bytes, took})
	}
	if p.single++; records > 1 || !filled {
		p.single = 0
	}
	switch {
	case p.Goodput == 0:
		p.Goodput = rate
	case filled && took-p.wait > 2*airtime: // the link has become much slower
		p.Goodput += steep * (rate - p.Goodput)
	case filled || rate > p.Goodput: // a batch that does not fill the link only gives a lower bound
		p.Goodput += weight * (rate - p.Goodput)
	}
	if records > 0 {
		size := float64(bytes) / float64(records)
		if p.Size == 0 {
			p.Size = size
		}
		p.Size += weight * (size - p.Size)
	}
	switch {
	case alone && (p.Trip == 0 || took < p.Trip):
		p.Trip = took
	case alone && !filled:
		p.Trip += time.Duration(weight * float64(took-p.Trip))
	}
	p.failed = false
	// Neither a small batch, as after a failure, nor one that mostly waits for its answer proves
	// that the link is slow.
	if s := p.under(b); s < p.strain || filled && p.told && took-p.wait >= airtime/2 {
		p.strain = s
	}
	return p
}

// compare returns p after a batch that may be larger or smaller than an earlier one: the two times
// show how much of them was waiting.
func (p Pace) compare(m mark) Pace {
	small, large := p.mark, m
	if small.bytes > large.bytes {
		small, large = large, small
	}
	if p.mark.bytes == 0 || large.bytes <= small.bytes+small.bytes/4 {
		if p.mark.bytes == 0 {
			p.mark = m
		}
		return p
	}
	p.mark = m
	slope := float64(large.took-small.took) / float64(large.bytes-small.bytes)
	wait := min(max(small.took-time.Duration(slope*float64(small.bytes)), 0), small.took)
	if !p.told {
		p.wait, p.told = wait, true
	}
	p.wait += (wait - p.wait) / 2
	return p
}

// Failed returns p after a batch of that size was not acknowledged: the next one is a quarter of
// it, so that it is more likely to succeed. However fast the link was before, the size of the
// failed batch counts.
func (p Pace) Failed(bytes int) Pace {
	if given := float64(bytes) / airtime.Seconds(); given > 0 {
		p.Goodput = min(p.Goodput, given)
	}
	p.Goodput /= 4
	p.failed = true
	return p
}

// under returns the strain for the present goodput. A slow link must be clearly faster to leave its
// state.
func (p Pace) under(b Portions) Strain {
	below := func(limit float64, was bool) bool {
		if was {
			limit *= recovery
		}
		return p.Goodput < limit
	}
	switch {
	case below(b.Crawl, p.strain == Crawl):
		return Crawl
	case below(b.Slow, p.strain >= Slow):
		return Slow
	}
	return Free
}

// Strain returns the strain of the link.
func (p Pace) Strain() Strain { return p.strain }

// Batch returns the largest size of the next batch in records and bytes: what the link carries in
// two seconds, and at least one record. After patience batches of one record it is two, because one
// alone does not show whether the link or the round trip takes so long.
func (p Pace) Batch(b Portions) (records, bytes int) {
	records, bytes = max(b.Records, 1), max(b.Bytes, 1)
	switch {
	case p.Goodput > 0:
		bytes = max(1, int(min(float64(bytes), p.Goodput*(airtime+p.wait).Seconds())))
	case p.failed:
		return 1, bytes
	default:
		return min(records, unproven), min(bytes, 16<<10)
	}
	if p.Size > 0 {
		records = max(1, int(min(float64(records), float64(bytes)/p.Size)))
	}
	if records == 1 && b.Records > 1 && p.single > 0 && p.single%patience == 0 {
		return 2, min(b.Bytes, max(bytes, int(2*p.Size)+1))
	}
	return records, bytes
}

// Flush returns how long records wait for a batch to fill up: the configured time, or longer if
// round trips are so long that the link would only wait for answers.
func (p Pace) Flush(b Portions) time.Duration {
	return min(max(b.Flush, trips*p.Trip), max(longest, b.Flush))
}
