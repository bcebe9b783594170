package schedule

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// silence lets a breaker fail until it opens.
func silence(b *Breaker, now time.Duration) {
	for !b.Open() {
		b.Observe(NoAnswer, 0, now)
	}
}

func TestBreakerOpensProbesAndCloses(t *testing.T) {
	b := NewBreaker(BreakerConfig{Jitter: -1})
	for i := range 3 {
		if probe, ok := b.Allow(0); probe || !ok || b.Until() != 0 {
			t.Fatalf("request %d: probe %v, ok %v", i, probe, ok)
		}
		b.Observe(NoAnswer, 0, 0)
	}
	if !b.Open() || b.Until() != time.Second || b.Failures() != 3 {
		t.Fatal(b.Open(), b.Until(), b.Failures())
	}
	if _, ok := b.Allow(999 * ms); ok {
		t.Fatal("allowed within the back-off")
	}
	for _, at := range []time.Duration{1, 3, 7, 15, 31, 63, 123, 183} {
		at *= time.Second
		if b.Until() != at {
			t.Fatalf("until %v, want %v", b.Until(), at)
		}
		if probe, ok := b.Allow(at); !probe || !ok {
			t.Fatal("no probe at", at)
		}
		if _, ok := b.Allow(at); ok {
			t.Fatal("two probes at", at)
		}
		if b.Timeout() != 100*ms {
			t.Fatal("a probe waits", b.Timeout())
		}
		b.Observe(NoAnswer, 0, at)
	}
	b.Observe(Answered, 20*ms, 200*time.Second)
	if probe, ok := b.Allow(200 * time.Second); b.Open() || probe || !ok || b.Failures() != 0 {
		t.Fatal("an answer does not close it")
	}
}

func TestTimeoutIsLearned(t *testing.T) {
	b := NewBreaker(BreakerConfig{MinTimeout: 10 * ms})
	if b.Timeout() != time.Second {
		t.Fatal("an unknown unit gets", b.Timeout())
	}
	for range 100 {
		b.Observe(Answered, 40*ms, 0)
	}
	if got := b.Timeout(); got < 40*ms || got > 45*ms {
		t.Fatal("a steady unit gets", got)
	}
	b.Observe(NoAnswer, 0, 0)
	if got := b.Timeout(); got < 80*ms || got > 90*ms {
		t.Fatal("after one failure it gets", got)
	}
	b.Observe(NoAnswer, 0, 0)
	if got := b.Timeout(); got != time.Second {
		t.Fatal("the last try before it opens gets", got)
	}
	b.Observe(Answered, 700*ms, 0)
	for range 30 {
		b.Observe(Answered, 700*ms, 0)
	}
	if got := b.Timeout(); got < 700*ms {
		t.Fatal("a unit that became slow gets", got)
	}
}

// A unit that has become slower than a short probe waits is found by a long one.
func TestAUnitThatCameBackSlowerIsFound(t *testing.T) {
	for _, hint := range []bool{false, true} {
		b := NewBreaker(BreakerConfig{})
		for range 20 {
			b.Observe(Answered, 20*ms, 0)
		}
		silence(&b, 0)
		probes := 0
		for b.Open() {
			now := b.Until()
			b.Allow(now)
			probes++
			if b.Timeout() >= 400*ms {
				b.Observe(Answered, 400*ms, now)
				break
			}
			b.Observe(NoAnswer, 0, now)
			if hint {
				b.Observe(Late, 400*ms, now)
			}
		}
		if most := map[bool]int{false: 20, true: 2}[hint]; b.Open() || probes > most {
			t.Fatalf("with late answers seen %v: found after %d probes", hint, probes)
		}
	}
}

// A unit that answers every probe and nothing else is backed off from like a silent one.
func TestAFlappingUnitIsBackedOffFrom(t *testing.T) {
	b := NewBreaker(BreakerConfig{})
	silence(&b, 0)
	lost, now := time.Duration(0), time.Duration(0)
	for now = b.Until(); now < time.Hour; now = b.Until() {
		b.Allow(now)
		b.Observe(Answered, 20*ms, now)
		lost += b.Timeout()
		b.Observe(NoAnswer, 0, now)
		if !b.Open() {
			t.Fatal("a relapse does not open it")
		}
	}
	if lost*100 > now {
		t.Fatalf("%v of %v is lost", lost, now)
	}
	for range trial + 1 {
		b.Observe(Answered, 20*ms, now)
	}
	b.Observe(NoAnswer, 0, now)
	if b.Open() {
		t.Fatal("a unit that passed its trial is opened by one failure")
	}
}

func drawConfig(t *rapid.T) BreakerConfig {
	span := rapid.SampledFrom([]time.Duration{0, 1, ms, 100 * ms, time.Second, 10 * time.Second, time.Hour, math.MaxInt64 / 2, math.MaxInt64, -5})
	return BreakerConfig{
		Failures:   rapid.IntRange(0, 5).Draw(t, "failures"),
		MinTimeout: span.Draw(t, "min"),
		MaxTimeout: span.Draw(t, "max"),
		Sigmas:     rapid.SampledFrom([]float64{0, 1, 4, math.NaN(), math.Inf(1)}).Draw(t, "sigmas"),
		Base:       span.Draw(t, "base"),
		Cap:        span.Draw(t, "cap"),
		Probe:      span.Draw(t, "probe"),
		Jitter:     rapid.SampledFrom([]float64{0, -1, 0.3, 9, math.NaN()}).Draw(t, "jitter"),
		Seed:       rapid.Uint64().Draw(t, "seed"),
	}
}

// With any configuration and any pattern of outcomes: one probe per back-off, back-offs and
// timeouts within their bounds, an answer closes the breaker, and the same history at any other
// time results in the same decisions.
func TestBreakerKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		config := drawConfig(t)
		b := NewBreaker(config)
		shift := time.Duration(rapid.Int64Range(0, 1<<50).Draw(t, "shift"))
		shifted := b
		c := b.config
		now, granted := time.Duration(0), time.Duration(-1)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now += rapid.SampledFrom([]time.Duration{0, ms, time.Second, time.Minute}).Draw(t, "pass")
			if rapid.Bool().Draw(t, "skip to the probe") && b.Until() < 1<<50 {
				now = max(now, b.Until())
			}
			wasOpen, from := b.Open(), b.Until()
			probe, ok := b.Allow(now)
			if p, o := shifted.Allow(now + shift); p != probe || o != ok {
				t.Fatal("the time of day decides")
			}
			if ok != (!wasOpen || now >= from) || probe != (ok && wasOpen) {
				t.Fatalf("open %v until %v: at %v probe %v, ok %v", wasOpen, from, now, probe, ok)
			}
			least := time.Duration(float64(min(c.Base, c.Cap)) * 0.499)
			if probe && granted >= 0 && now-granted < least {
				t.Fatalf("probes at %v and %v, back-off %v", granted, now, c.Base)
			}
			if probe {
				granted = now
			}
			if d := b.Timeout(); d <= 0 || d > max(c.MaxTimeout, c.MinTimeout) || d != shifted.Timeout() {
				t.Fatalf("timeout %v", d)
			}
			if !ok {
				continue
			}
			outcome := Outcome(rapid.IntRange(0, int(NotSent)).Draw(t, "outcome"))
			rtt := rapid.SampledFrom([]time.Duration{-1, 0, ms, time.Second, math.MaxInt64}).Draw(t, "rtt")
			b.Observe(outcome, rtt, now)
			shifted.Observe(outcome, rtt, now+shift)
			switch {
			case outcome <= Exception && (b.Open() || b.Failures() != 0):
				t.Fatal("an answer does not close it")
			case outcome <= Exception:
				granted = -1
			}
			if b.Open() && (b.Until() < now || b.Until()-now > c.Cap) {
				t.Fatalf("back-off %v beyond %v", b.Until()-now, c.Cap)
			}
		}
	})
}

// Over an hour of silence, the probes of one unit take less than two parts in a hundred of a line
// that no other unit needs, whatever happened before; on other lines the queue limits them further.
func TestASilentUnitTakesLittleAirTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := NewBreaker(BreakerConfig{Seed: rapid.Uint64().Draw(t, "seed")})
		for range rapid.IntRange(0, 50).Draw(t, "answers") {
			b.Observe(Answered, time.Duration(rapid.IntRange(1, 300).Draw(t, "rtt"))*ms, 0)
		}
		silence(&b, 0)
		const steady, end = 2 * time.Minute, 62 * time.Minute
		var lost time.Duration
		probes := 0
		for now := b.Until(); now < end; now = b.Until() {
			b.Allow(now)
			if now >= steady {
				lost += b.Timeout()
				probes++
			}
			b.Observe(NoAnswer, 0, now+b.Timeout())
		}
		if nominal := end - steady; lost*50 > nominal || probes > 80 {
			t.Fatalf("%d probes lost %v of %v", probes, lost, nominal)
		}
	})
}

func TestSilenceForEverNeverHammers(t *testing.T) {
	b := NewBreaker(BreakerConfig{Base: 1, Cap: math.MaxInt64, Jitter: -1})
	silence(&b, 0)
	last := time.Duration(0)
	for range 1000 {
		now := b.Until()
		if now < last || now-last <= 0 && now != math.MaxInt64 {
			t.Fatalf("back-off %v after %v", now-last, last)
		}
		last = now
		b.Allow(now)
		b.Observe(NoAnswer, 0, now)
	}
}

// Requests in flight when the breaker opened do not lengthen its back-off.
func TestStragglersDoNotLengthenTheBackoff(t *testing.T) {
	b := NewBreaker(BreakerConfig{})
	silence(&b, 0)
	before := b
	b.Observe(NoAnswer, 0, 10*ms)
	b.Observe(Garbled, 0, 20*ms)
	if b != before {
		t.Fatalf("got %+v, want %+v", b, before)
	}
}

func TestConfigureCutsARunningBackoff(t *testing.T) {
	b := NewBreaker(BreakerConfig{Cap: time.Hour, Base: time.Hour})
	for range 10 {
		b.Observe(Answered, 80*ms, 0)
	}
	learned := b.Timeout()
	b.Configure(BreakerConfig{MaxTimeout: 2 * time.Second}, 0)
	if b.Timeout() != learned {
		t.Fatal("what was learned is lost")
	}
	b.Configure(BreakerConfig{Cap: time.Hour, Base: time.Hour}, 0)
	silence(&b, time.Second)
	b.Configure(BreakerConfig{Cap: 10 * time.Second}, 2*time.Second)
	if b.Until() != 12*time.Second {
		t.Fatal("until", b.Until())
	}
}
