package actors

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// No function waits for one that hangs.
func TestCrewGoesRoundWhatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w dispatcher
		var done atomic.Int32
		release := make(chan struct{})
		for i := range 1000 {
			w.Schedule(func() {
				if i%3 == 0 {
					<-release
				}
				done.Add(1)
			})
		}
		synctest.Wait()
		if n := done.Load(); n != 666 {
			t.Errorf("%d are done while the others hang", n)
		}
		close(release)
		time.Sleep(3 * idleTime)
		w.mu.Lock()
		defer w.mu.Unlock()
		if n := done.Load(); n != 1000 || len(w.idle) > 0 {
			t.Errorf("%d are done, %d goroutines are left", n, len(w.idle))
		}
	})
}

// Functions scheduled by others are run as well.
func TestCrewServesWhatItSchedules(t *testing.T) {
	const bursts, each = 100, 1000
	var w dispatcher
	var wait sync.WaitGroup
	wait.Add(bursts * each)
	for range bursts {
		w.Schedule(func() {
			for range each {
				w.Schedule(wait.Done)
			}
		})
	}
	wait.Wait()
	w.end()
}

// However many functions come before the first goroutine does, only one is called. The lock keeps
// it away, as a busy machine does.
func TestCrewIsSmall(t *testing.T) {
	const many = 1000
	var w dispatcher
	var wait sync.WaitGroup
	wait.Add(many)
	before := runtime.NumGoroutine()
	w.mu.Lock()
	for range many {
		w.queue.push(wait.Done)
		w.call()
	}
	called := runtime.NumGoroutine() - before
	w.mu.Unlock()
	wait.Wait()
	w.end()
	if called > many/2 { // those of other tests may start meanwhile
		t.Errorf("%d goroutines for %d functions", called, many)
	}
}

// end waits until all goroutines have ended, because goleak checks for them.
func (w *dispatcher) end() {
	for rest := true; rest; time.Sleep(time.Millisecond) {
		w.mu.Lock()
		rest = w.armed
		w.mu.Unlock()
	}
}

func TestFifo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q fifo
		var want []any
		for i, push := range rapid.SliceOf(rapid.Bool()).Draw(t, "push") {
			if push {
				q.push(i)
				want = append(want, i)
				continue
			}
			got := q.pop(mailKept)
			if len(want) == 0 {
				want = []any{nil}
			}
			if got != want[0] {
				t.Fatalf("got %v, want %v", got, want[0])
			}
			want = want[1:]
			if q.empty() != (len(want) == 0) || q.empty() && cap(q.items) > mailKept {
				t.Fatalf("%d are left, room for %d", len(want), cap(q.items))
			}
		}
	})
}
