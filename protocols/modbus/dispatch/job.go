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
	load   *budget.Unit // Ask.Load; kept here because the asker may reuse the Ask as soon as it is answered
	reply  func(*Answer)
	stands func() error  // see SubmitIf; nil: no check, or already done
	void   error         // error returned by stands
	left   int           // requests without a result
	scan   *scan         // scan group of a poll; nil: not a poll of a scan group
	shed   bool          // a poll that is sent only when there is time for it
	due    time.Duration // polls that are due earlier go first
	took   time.Duration // time for which its requests occupied the link
	failed bool          // a request was not answered
	silent atomic.Int32  // consecutive requests without an answer; counted by workers
}

type part struct {
	job   *job
	index int           // of the request in the Ask
	tries int           // retries so far
	res   *Result       // its place in the answer
	busy  time.Duration // time for which it occupied the link
}

func (p *part) ask() *Ask               { return p.job.answer.Ask }
func (p *part) request() modbus.Request { return p.ask().Requests[p.index] }

// timeout returns how long the next request waits for its answer, 0 for the link's own timeout. ok
// is false if the request is not to be sent. See Ask.Timeouts.
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

// canceled returns why no more of j is to be sent, or nil if it may be sent. It calls stands until
// the first request is sent.
func (j *job) canceled() error {
	if j.stands != nil && j.void == nil {
		j.void = j.stands()
		if j.void == nil {
			j.stands = nil // its first request is sent now
		}
	}
	return j.void
}

// jobOf returns a job for an Ask. An Ask that is sent again reuses the memory of its last job.
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

// late reports whether a caller waits for this part and has waited beyond Ask.Expires.
func (p *part) late() bool {
	ask := p.ask()
	return ask.Class <= schedule.Interactive && !ask.Expires.IsZero() && !time.Now().Before(ask.Expires)
}

// notFound reports whether this was a search for a unit that did not answer. Such searches are not
// counted.
func (p *part) notFound() bool {
	return p.ask().Search && p.res.Outcome != schedule.Answered && p.res.Outcome != schedule.Exception
}
