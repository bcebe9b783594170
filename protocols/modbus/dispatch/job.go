package dispatch

import (
	"sync/atomic"
	"time"

	"gatewayd/protocols/modbus"
	"gatewayd/protocols/modbus/budget"
	"gatewayd/protocols/modbus/schedule"
)

// job is an Ask that is not yet answered. A part is one of its requests.
type job struct {
	answer Answer
	parts  []part
	load   *budget.Unit // Ask.Load; kept here because the asker may use the Ask again as soon as it is answered
	reply  func(*Answer)
	stands func() error  // see SubmitIf; nil: there is nothing to check, or no longer
	void   error         // what stands returned
	left   int           // requests without a result
	scan   *scan         // of a poll of a scan group; nil: of anything else
	shed   bool          // a poll that goes only when there is time for it
	due    time.Duration // polls with an earlier one go first
	took   time.Duration // for which all its requests kept the link
	failed bool          // a request was not answered
	silent atomic.Int32  // requests without an answer in a row; workers count it
}

type part struct {
	job   *job
	index int           // of the request in the Ask
	tries int           // retries so far
	res   *Result       // its place in the answer
	busy  time.Duration // for which it kept the link
}

func (p *part) ask() *Ask               { return p.job.answer.Ask }
func (p *part) request() modbus.Request { return p.ask().Requests[p.index] }

// timeout is how long the next request waits for its answer, 0 for the link's own timeout; ok is false if it is not to be sent. See
// Ask.Timeouts.
func (j *job) timeout() (d time.Duration, ok bool) {
	t := j.answer.Ask.Timeouts
	if len(t) == 0 {
		return 0, true
	}
	if n := int(j.silent.Load()); n < len(t) {
		return t[n], true
	}
	return 0, false
}

// canceled is why nothing of j is to be sent any more; nil: it may be sent. It asks stands until the first request goes out.
func (j *job) canceled() error {
	if j.stands != nil && j.void == nil {
		j.void = j.stands()
		if j.void == nil {
			j.stands = nil // its first request goes out now
		}
	}
	return j.void
}

// jobOf makes the job of an Ask. An Ask that is sent again lends the memory of its last job.
func jobOf(ask *Ask) *job {
	j, n := ask.job, len(ask.Requests)
	if j == nil || cap(j.parts) < n {
		j = &job{parts: make([]part, n), answer: Answer{Results: make([]Result, n)}}
		ask.job = j
	}
	parts, results := j.parts[:n], j.answer.Results[:n]
	*j = job{parts: parts, answer: Answer{Ask: ask, Results: results}, load: ask.Load}
	for i := range parts {
		parts[i], results[i] = part{job: j, index: i, res: &results[i]}, Result{}
	}
	return j
}

// late says whether a caller waits for this part, and has waited beyond Ask.Expires.
func (p *part) late() bool {
	ask := p.ask()
	return ask.Class <= schedule.Interactive && !ask.Expires.IsZero() && !time.Now().Before(ask.Expires)
}

// notFound says whether this was a search for a unit that did not answer. Such a one is not counted.
func (p *part) notFound() bool {
	return p.ask().Search && p.res.Outcome != schedule.Answered && p.res.Outcome != schedule.Exception
}
