package bus

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// lane carries what the server writes to disk before it reads on (events), over
// a connection of its own. A sync takes a millisecond on a good disk and seconds on a dying card;
// readings and commands must not wait behind it, and neither may the actor that publishes.
type lane struct {
	nc      *nats.Conn
	queue   chan laned
	quit    chan struct{}
	done    sync.WaitGroup
	dropped atomic.Uint64
}

type laned struct {
	msg   *nats.Msg
	flush chan error // set instead of msg: answer when all before it is sent
}

// laneSize is how many events may wait for the disk.
const laneSize = 4096

func newLane(nc *nats.Conn) *lane {
	l := &lane{nc: nc, queue: make(chan laned, laneSize), quit: make(chan struct{})}
	l.done.Go(l.run)
	return l
}

func (l *lane) run() {
	for {
		select {
		case x := <-l.queue:
			l.send(x)
		case <-l.quit:
			for len(l.queue) > 0 {
				l.send(<-l.queue)
			}
			return
		}
	}
}

func (l *lane) send(x laned) {
	if x.flush != nil {
		x.flush <- nil
		return
	}
	if l.nc.PublishMsg(x.msg) != nil {
		l.dropped.Add(1)
	}
}

// put queues m or refuses it at once.
func (l *lane) put(m *nats.Msg) error {
	select {
	case l.queue <- laned{msg: m}:
		return nil
	default:
		l.dropped.Add(1)
		return Errorf(ResourceExhausted, "%d events are waiting for the disk", laneSize)
	}
}

// flush waits until the server has taken what was put before.
func (l *lane) flush(ctx context.Context) error {
	x := laned{flush: make(chan error, 1)}
	select {
	case l.queue <- x:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-x.flush:
		return l.nc.FlushWithContext(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close sends what is queued and ends; it gives up after a second of silence from the server.
func (l *lane) close() {
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if l.nc.IsConnected() {
		_ = l.flush(ctx)
	}
	close(l.quit)
	l.nc.Close() // a send that hangs in a full pipe ends here
	l.done.Wait()
}
