package uplink

import "time"

// Portions are the bounds within which a Pace works.
type Portions struct {
	Records int           // most records of a batch
	Bytes   int           // about how many bytes of records a batch has at most
	Flush   time.Duration // how long records wait for company, at least
	Slow    float64       // bytes per second below which the link counts as slow; 0: it never does
	Crawl   float64       // and below which it crawls; at most Slow. 0: it never does
}

// Strain is how much a link lacks.
type Strain uint8

// A link that bears everything, one that is slow and gets nothing of low priority, and one that crawls and gets what is of high priority only.
const (
	Free Strain = iota
	Slow
	Crawl
)

// A Pace learns from what is sent how much a link bears. It is a value; times are those of its caller.
type Pace struct {
	Goodput float64       // bytes acknowledged per second, smoothed; 0: not measured yet
	Trip    time.Duration // how long a small batch takes, which is mostly waiting
	Size    float64       // bytes per record, smoothed
	failed  bool          // since the last batch that went well
	strain  Strain
	wait    time.Duration // what a batch takes however small it is
	told    bool          // batches of several sizes have told that
	mark    mark          // to compare the next ones with
	single  int           // batches in a row that could have one record only
}

// mark is a batch that was acknowledged.
type mark struct {
	bytes int
	took  time.Duration
}

const (
	airtime  = 2 * time.Second  // how long a batch may take on the link, beside waiting
	weight   = 0.25             // of the newest measurement
	steep    = 0.75             // likewise, where it took much too long
	trips    = 4                // between batches, lest waiting for answers is all that a link does
	longest  = 10 * time.Minute // between batches, whatever the link
	drowsy   = 1.25             // a link that was slow must be so much faster than that
	unproven = 64               // records of a batch before anything is known of the link
	patience = 8                // single records in a row before it is tried whether two take as long
)

// Sent is p after a batch was acknowledged. took is from when the link was free for it to its acknowledgement; alone is true if no
// other was under way meanwhile.
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
	case filled && took-p.wait > 2*airtime: // the link has become a good deal slower
		p.Goodput += steep * (rate - p.Goodput)
	case filled || rate > p.Goodput: // what did not fill the link only tells that it bears so much
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
	// What is small, as after a failure, or waits for its answer tells nothing bad about the link.
	if s := p.under(b); s < p.strain || filled && p.told && took-p.wait >= airtime/2 {
		p.strain = s
	}
	return p
}

// compare is p after a batch that is perhaps larger or smaller than an earlier one: what both took tells how much of that was waiting.
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

// Failed is p after a batch of so many bytes was not acknowledged: the next one is a quarter, lest the same happens to it. However fast the link was,
// that counts from what it was given.
func (p Pace) Failed(bytes int) Pace {
	if given := float64(bytes) / airtime.Seconds(); given > 0 {
		p.Goodput = min(p.Goodput, given)
	}
	p.Goodput /= 4
	p.failed = true
	return p
}

// under is what the goodput means. What was slow must be a good deal faster to be so no more.
func (p Pace) under(b Portions) Strain {
	below := func(limit float64, was bool) bool {
		if was {
			limit *= drowsy
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

// Strain says how much the link lacks.
func (p Pace) Strain() Strain { return p.strain }

// Batch is how many records and bytes the next batch has at most: what the link carries in two seconds, and at least one record. Where that is only one for
// long, now and then it is two, for one alone does not tell whether it is the link that takes so long or the way there and back.
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

// Flush is how long records wait for company: as long as the config says, and longer where a trip takes so long that waiting for
// answers would be all that is done.
func (p Pace) Flush(b Portions) time.Duration {
	return min(max(b.Flush, trips*p.Trip), max(longest, b.Flush))
}
