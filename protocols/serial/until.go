package serial

import (
	"context"
	"time"
)

// Until calls so ten times a second until it returns true, or until ctx ends; it then returns the
// error of ctx.
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
