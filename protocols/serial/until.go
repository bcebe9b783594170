package serial

import (
	"context"
	"time"
)

// Until asks ten times a second whether something is so, until it is or ctx ends, whose error it then returns.
func Until(ctx context.Context, so func() bool) error {
	const again = 100 * time.Millisecond
	t := time.NewTicker(again)
	defer t.Stop()
	for !so() {
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
