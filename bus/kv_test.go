package bus_test

import (
	"context"
	"testing"

	"gatewayd/bus"
)

func TestKV(t *testing.T) {
	dir := t.TempDir()
	change := func(c *bus.Config) { c.Dir = dir }
	b := start(t, change)
	ctx := within(t)
	kv, err := b.KV(ctx, "config", 3)
	if err != nil {
		t.Fatal(err)
	}
	const key = "field/line-1/meter-7"
	if _, err := kv.Get(ctx, key); code(err) != bus.NotFound {
		t.Fatal(err)
	}
	if keys, err := kv.Keys(ctx); err != nil || len(keys) != 0 {
		t.Fatal(keys, err)
	}
	seen := make(chan bus.Entry, 64)
	stop, err := kv.Watch(">", func(e bus.Entry) { seen <- e })
	if err != nil {
		t.Fatal(err)
	}
	one, err := kv.Update(ctx, key, []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Update(ctx, key, []byte("x"), 0); code(err) != bus.Aborted {
		t.Fatal(err)
	}
	two, err := kv.Update(ctx, key, []byte("2"), one)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Update(ctx, key, []byte("x"), one); code(err) != bus.Aborted {
		t.Fatal(err)
	}
	if e, err := kv.Get(ctx, key); err != nil || string(e.Value) != "2" || e.Revision != two {
		t.Fatal(e, err)
	}
	for range 2 {
		if e := receive(t, seen); e.Key != key {
			t.Fatal(e)
		}
	}
	if err := b.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(ctx, key, []byte("3")); err != nil {
		t.Fatal(err)
	}
	for e := receive(t, seen); string(e.Value) != "3"; e = receive(t, seen) {
		if string(e.Value) != "2" {
			t.Fatal(e)
		}
	}
	if _, err := kv.Put(ctx, key, []byte("4")); err != nil {
		t.Fatal(err)
	}
	h, err := kv.History(ctx, key)
	if err != nil || len(h) != 3 || string(h[0].Value) != "2" || string(h[2].Value) != "4" {
		t.Fatal(h, err)
	}
	if err := kv.Delete(ctx, key); err != nil {
		t.Fatal(err)
	}
	for e := receive(t, seen); !e.Deleted; e = receive(t, seen) {
	}
	stop()
	if _, err := kv.Get(ctx, key); code(err) != bus.NotFound {
		t.Fatal(err)
	}
	if _, err := kv.Put(ctx, "a b", nil); code(err) != bus.InvalidArgument {
		t.Fatal(err)
	}
	if _, err := kv.Put(ctx, "big", make([]byte, 900<<10)); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(ctx, "bigger", make([]byte, 1000<<10)); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(ctx, "too-much", make([]byte, 900<<10)); code(err) != bus.ResourceExhausted {
		t.Fatal(err)
	}
	b.Close()
	b = start(t, change)
	if kv, err = b.KV(ctx, "config", 3); err != nil {
		t.Fatal(err)
	}
	if h, err = kv.History(ctx, key); err != nil || len(h) != 3 || !h[2].Deleted {
		t.Fatal(h, err)
	}
	if keys, err := kv.Keys(ctx); err != nil || len(keys) != 2 {
		t.Fatal(keys, err)
	}
}

// A bucket that is still being created, or could not be, is not an error of the bus.
func TestBucketThatIsNotThere(t *testing.T) {
	b := start(t, nil)
	given, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.KV(given, "config", 1); err == nil {
		t.Fatal("it was made")
	}
	if err := b.Canary(within(t)); err != nil {
		t.Error(err)
	}
}
