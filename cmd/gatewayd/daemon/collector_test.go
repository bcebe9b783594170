package daemon

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"testing/synctest"
	"time"
)

func TestCollectorIsLavishOnlyWhereMuchPasses(t *testing.T) {
	now := time.Now()
	c := &collector{last: now, percent: thrifty}
	after := func(d time.Duration, times, want int) {
		t.Helper()
		for range times {
			now = now.Add(d)
			c.collected(now)
		}
		if c.percent != want {
			t.Errorf("%d collections %s apart: %d %%, want %d %%", times, d, c.percent, want)
		}
	}
	after(time.Minute, 3, thrifty)
	after(hurry, strides-1, thrifty)
	after(stride+1, 1, thrifty) // that was only a burst
	after(stride, strides-1, thrifty)
	after(stride, 1, steady)
	after(repose, 20, steady) // thrifty would collect too often again
	after(time.Minute, 1, thrifty)
	after(hurry/2, strides-1, thrifty)
	after(hurry/2, hurries-strides, steady)
	after(hurry/2, 1, lavish)
	after(leisure, 20, lavish)
	after(leisure+1, 1, thrifty)
	after(stride, strides-1, thrifty)
	after(stride, 1, steady)
	after(time.Minute, 1, thrifty)
}

func TestCollectorIsFollowed(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(thrifty))
	c := &collector{last: time.Now(), percent: thrifty}
	c.follow()
	now := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	var garbage []byte
	for deadline := time.Now().Add(time.Minute); ; {
		garbage = make([]byte, 1<<20)
		if metrics.Read(now); now[0].Value.Uint64() != thrifty { // by how much it rises depends on the speed of the machine
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a minute of garbage has changed nothing")
		}
	}
	_ = garbage
}

// Memory allocated during a rush is returned once, when the last collection under load is long
// enough ago.
func TestCollectorGivesBackAfterARush(t *testing.T) {
	forced := func() uint32 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.NumForcedGC
	}
	synctest.Test(t, func(t *testing.T) {
		c := &collector{percent: thrifty}
		given := forced()
		after := func(d time.Duration, want uint32) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := forced() - given; got != want {
				t.Fatalf("given back %d times, want %d", got, want)
			}
		}
		c.calm(thrifty)
		after(time.Hour, 0)
		for range 3 {
			c.calm(lavish)
			after(leisure, 0)
		}
		c.calm(thrifty) // does not change what is scheduled
		after(hurry-1, 0)
		after(1, 1)
		after(time.Hour, 1)
		c.calm(lavish) // the next rush
		after(time.Hour, 2)
		c.calm(steady)
		after(repose, 2)
		after(hurry, 3)
	})
}
