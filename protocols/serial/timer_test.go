package serial_test

import (
	"context"
	"errors"
	"os"
	"runtime/pprof"
	"sync"
	"testing"
	"time"

	"gatewayd/protocols/serial"
)

func newTimer(t *testing.T) *serial.Timer {
	t.Helper()
	timer, err := serial.NewTimer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { timer.Close() })
	return timer
}

func TestTimerIsPrecise(t *testing.T) {
	timer := newTimer(t)
	for _, d := range []time.Duration{100 * time.Microsecond, 1750 * time.Microsecond, 4010 * time.Microsecond} {
		late := time.Hour
		for range 200 {
			if late < 400*time.Microsecond {
				break
			}
			began := time.Now()
			if err := timer.Wait(context.Background(), d); err != nil {
				t.Fatal(err)
			}
			late = min(late, time.Since(began)-d)
		}
		if late < 0 || late > 400*time.Microsecond {
			t.Errorf("%v: %v late at best", d, late)
		}
	}
	if err := timer.Wait(context.Background(), -1); err != nil {
		t.Error(err)
	}
}

func TestTimerEndsWithItsContext(t *testing.T) {
	timer := newTimer(t)
	for i := range 200 {
		ctx, cancel := context.WithCancel(context.Background())
		go cancel()
		if err := timer.Wait(ctx, time.Hour); err != context.Canceled {
			t.Fatalf("cancelled: %v", err)
		}
		began := time.Now()
		if err := timer.Wait(context.Background(), 200*time.Microsecond); err != nil || time.Since(began) < 200*time.Microsecond {
			t.Fatalf("wait %d after a cancelled one: %v after %v", i, err, time.Since(began))
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if err := timer.Wait(ctx, time.Hour); err != context.DeadlineExceeded {
		t.Errorf("timeout: %v", err)
	}
}

func TestTimerClose(t *testing.T) {
	timer := newTimer(t)
	failed := make(chan error)
	go func() { failed <- timer.Wait(context.Background(), time.Hour) }()
	timer.Close()
	if err := <-failed; !errors.Is(err, os.ErrClosed) {
		t.Errorf("waiting: %v", err)
	}
	if err := timer.Wait(context.Background(), time.Second); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

func TestWaitingCostsNoThread(t *testing.T) {
	threads := func() int { return pprof.Lookup("threadcreate").Count() }
	before := threads()
	var done sync.WaitGroup
	for range 300 {
		timer := newTimer(t)
		done.Go(func() { timer.Wait(context.Background(), 50*time.Millisecond) })
	}
	done.Wait()
	if n := threads() - before; n > 50 {
		t.Errorf("300 waits made %d threads", n)
	}
}

func BenchmarkWait(b *testing.B) {
	timer, err := serial.NewTimer()
	if err != nil {
		b.Fatal(err)
	}
	defer timer.Close()
	const d = 1750 * time.Microsecond
	var late time.Duration
	for b.Loop() {
		began := time.Now()
		timer.Wait(context.Background(), d)
		late += time.Since(began) - d
	}
	b.ReportMetric(float64(late.Microseconds())/float64(b.N), "µs-late")
}
