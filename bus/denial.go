package bus

import (
	"context"
	"strings"
	"sync"
)

// denials associates the server's permission errors, which arrive asynchronously, with the calls
// that caused them.
type denials struct {
	mu    sync.Mutex
	waits map[*wait]struct{}
}

type wait struct {
	subject string
	cancel  context.CancelCauseFunc
}

func (d *denials) watch(subject string, cancel context.CancelCauseFunc) *wait {
	w := &wait{subject: subject, cancel: cancel}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waits == nil {
		d.waits = map[*wait]struct{}{}
	}
	d.waits[w] = struct{}{}
	return w
}

func (d *denials) unwatch(w *wait) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.waits, w)
}

// deny fails the calls that wait for the subject quoted in err.
func (d *denials) deny(err error) {
	_, rest, _ := strings.Cut(err.Error(), `"`)
	subject, _, _ := strings.Cut(rest, `"`)
	d.mu.Lock()
	defer d.mu.Unlock()
	for w := range d.waits {
		if w.subject == subject {
			w.cancel(refusal(subject))
		}
	}
}

// AskOperator is the end of the message of such an error.
const AskOperator = ": ask for the operator key"

func refusal(subject string) error {
	what := subject
	if topic, ok := Topic(subject); ok {
		what = topic
	}
	return Errorf(PermissionDenied, "this identity may not use %s%s", what, AskOperator)
}
