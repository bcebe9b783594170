package bus

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/nats-io/nats.go/jetstream"
)

// ended is the watcher of a connection that has ended.
type ended struct {
	jetstream.KeyWatcher
	asked func()
}

func (w ended) Updates() <-chan jetstream.KeyValueEntry {
	w.asked()
	none := make(chan jetstream.KeyValueEntry)
	close(none)
	return none
}

// A watch on a bus that has ended takes no CPU time until it is stopped.
func TestWatcherOfAnEndedBusRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		asked := 0
		w := ended{asked: func() {
			if asked++; asked > 1 {
				t.Error("it asks again and again")
				runtime.Goexit()
			}
		}}
		go (&KV{}).follow(ctx, w, ">", nil, nil)
		synctest.Wait()
		cancel()
	})
}
