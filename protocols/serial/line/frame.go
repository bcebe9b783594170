package line

import "time"

// A Chunk is bytes as they came off the wire, without a pause between them.
type Chunk struct {
	Data       []byte
	Start, End time.Time // of the first and the last bit on the wire
}

// span is a Chunk in the line's own time.
type span struct {
	data       []byte
	start, end time.Duration
}

// A framer gathers spans to frames: what has at least silence before and after it (Serial Line V1.02 §2.5.1.1).
type framer struct {
	silence    time.Duration
	data       []byte
	start, end time.Duration
}

// add takes the next span. If it comes a silence after the frame gathered so far, that one is complete and returned.
func (f *framer) add(s span) (done span, ok bool) {
	if len(f.data) > 0 && s.start-f.end >= f.silence && f.silence > 0 {
		done, ok = f.take(), true
	}
	if len(f.data) == 0 {
		f.start = s.start
	}
	f.data = append(f.data, s.data...)
	f.end = s.end
	return done, ok
}

// complete says whether the frame gathered so far has ended if the wire was quiet until now.
func (f *framer) complete(now time.Duration) bool { return len(f.data) > 0 && now-f.end >= f.silence }

// take removes and returns the frame gathered so far.
func (f *framer) take() span {
	s := span{f.data, f.start, f.end}
	f.data = nil
	return s
}
