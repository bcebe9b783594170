package line

import "time"

// A Chunk is bytes received from the wire without a pause between them.
type Chunk struct {
	Data       []byte
	Start, End time.Time // of the first and the last bit on the wire
}

// span is a Chunk in the time of the line.
type span struct {
	data       []byte
	start, end time.Duration
}

// A framer combines spans to frames, which have a silence of at least the given length before and
// after them (Serial Line V1.02 §2.5.1.1).
type framer struct {
	silence    time.Duration
	data       []byte
	start, end time.Duration
}

// add adds the next span. If there was a silence between the frame gathered so far and the span,
// that frame is complete and returned.
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

// complete reports whether the frame gathered so far has ended, provided that the wire has been
// quiet until now.
func (f *framer) complete(now time.Duration) bool { return len(f.data) > 0 && now-f.end >= f.silence }

// take removes and returns the frame gathered so far.
func (f *framer) take() span {
	s := span{f.data, f.start, f.end}
	f.data = nil
	return s
}
