package clock

import (
	"context"
	"time"
)

// Regularly does something each time that so much has passed, until ctx ends.
func Regularly(ctx context.Context, every time.Duration, do func(now time.Time)) {
	clock := time.NewTicker(every)
	defer clock.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-clock.C:
			do(now)
		}
	}
}
