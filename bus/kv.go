package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// KV is a bucket of versioned values in the store. Keys are actor paths ("field/line-1/meter-7") or
// tokens joined by '.'. It survives Restart. Data that the gateway cannot do without (identity,
// config) is also kept in plain files.
type KV struct {
	bus    *Bus
	bucket string
	kv     jetstream.KeyValue
}

// Entry is one version of a value.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64
	Time     time.Time
	Deleted  bool
}

const (
	bucketBytes = 2 << 20 // maximum size of one bucket
	maxHistory  = 64      // maximum number of versions the server keeps
)

// KV opens a bucket, creating it on first use, that keeps history versions of each value (1 to 64).
// Its errors are *Error: Unavailable without a store.
func (b *Bus) KV(ctx context.Context, bucket string, history int) (*KV, error) {
	if err := CheckLeaf(bucket); err != nil {
		return nil, fmt.Errorf("bucket %q: %w", bucket, err)
	}
	cfg := jetstream.StreamConfig{
		Name: bucketPrefix + bucket, Subjects: []string{"$KV." + bucket + ".>"}, Storage: jetstream.FileStorage,
		MaxMsgsPerSubject: int64(min(max(history, 1), maxHistory)), MaxMsgs: -1, MaxBytes: bucketBytes,
		MaxMsgSize: -1, Discard: jetstream.DiscardNew, AllowRollup: true, DenyDelete: true, AllowDirect: true,
		Duplicates: minDedup, MaxConsumers: -1,
	}
	b.mu.Lock()
	made := cfg
	made.FirstSeq = b.floor[cfg.Name]
	b.mu.Unlock()
	if why := b.Report().Store; why != "" {
		return nil, fmt.Errorf("bucket %s: %w", bucket, Errorf(Unavailable, "the store does not work: %s", why))
	}
	err := b.ensure(ctx, made)
	if err == nil { // not earlier: the canary checks all registered buckets
		b.mu.Lock()
		if b.buckets == nil {
			b.buckets = map[string]jetstream.StreamConfig{}
		}
		b.buckets[bucket] = cfg
		b.mu.Unlock()
	}
	var kv jetstream.KeyValue
	if err == nil {
		kv, err = b.js.KeyValue(ctx, bucket)
	}
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", bucket, unavailable(err))
	}
	return &KV{bus: b, bucket: bucket, kv: kv}, nil
}

// unavailable converts an error of the store to an *Error. Unknown errors become Unavailable,
// because the store may recover.
func unavailable(err error) *Error {
	e := AsError(err)
	if e.Code == Internal {
		e = Errorf(Unavailable, "%s", e.Message)
	}
	return e
}

// Get returns the value of key, or an *Error with NotFound if it has none.
func (k *KV) Get(ctx context.Context, key string) (Entry, error) {
	e, err := k.kv.Get(ctx, key)
	if err != nil {
		return Entry{}, k.failed("get", key, err)
	}
	return entryOf(e), nil
}

// Put writes a value unconditionally and returns its revision. When it returns, the value is on
// disk.
func (k *KV) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	rev, err := k.kv.Put(ctx, key, value)
	return rev, k.failed("put", key, err)
}

// Update writes a value if revision is still the latest one (0: no value exists); otherwise it
// returns an *Error with Aborted.
func (k *KV) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	var rev uint64
	var err error
	if revision == 0 {
		rev, err = k.kv.Create(ctx, key, value)
	} else {
		rev, err = k.kv.Update(ctx, key, value, revision)
	}
	return rev, k.failed("update", key, err)
}

// Delete deletes the value; it stays in the history.
func (k *KV) Delete(ctx context.Context, key string) error {
	return k.failed("delete", key, k.kv.Delete(ctx, key))
}

// History returns the stored versions of key, oldest first.
func (k *KV) History(ctx context.Context, key string) ([]Entry, error) {
	all, err := k.kv.History(ctx, key)
	if err != nil {
		return nil, k.failed("history of", key, err)
	}
	var out []Entry
	for _, e := range all {
		out = append(out, entryOf(e))
	}
	return out, nil
}

// Keys returns all keys that have a value.
func (k *KV) Keys(ctx context.Context) ([]string, error) {
	l, err := k.kv.ListKeys(ctx)
	if err != nil {
		return nil, k.failed("list", ">", err)
	}
	defer func() { _ = l.Stop() }()
	var out []string
	for key := range l.Keys() {
		out = append(out, key)
	}
	return out, nil
}

// Watch calls fn with the present value of every key under pattern ("field/>" or "*" wildcards as
// in NATS, ">" for all) and then with each change, deletions included, until stop is called. After
// a Restart a key may be reported again; no last value is missed.
func (k *KV) Watch(pattern string, fn func(Entry)) (stop func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	again := make(chan struct{}, 1)
	forget := k.bus.OnRestart(func() {
		select {
		case again <- struct{}{}:
		default:
		}
	})
	w, err := k.kv.Watch(ctx, pattern)
	if err != nil {
		forget()
		cancel()
		return nil, k.failed("watch", pattern, err)
	}
	var done sync.WaitGroup
	done.Go(func() { k.follow(ctx, w, pattern, again, fn) })
	return func() { forget(); cancel(); done.Wait() }, nil
}

// follow passes changes to fn. It starts a new watcher after each restart, because a watcher's
// consumer does not survive the server.
func (k *KV) follow(ctx context.Context, w jetstream.KeyWatcher, pattern string, again <-chan struct{}, fn func(Entry)) {
	var seen uint64
	for {
		var updates <-chan jetstream.KeyValueEntry
		if w != nil {
			updates = w.Updates()
		}
		select {
		case <-ctx.Done():
			if w != nil {
				_ = w.Stop()
			}
			return
		case e, ok := <-updates:
			if !ok { // the connection has ended
				w = nil
			} else if e != nil && e.Revision() > seen {
				seen = e.Revision()
				fn(entryOf(e))
			}
		case <-again:
			if w != nil {
				_ = w.Stop()
			}
			seen = 0
			w, _ = k.kv.Watch(ctx, pattern) // nil while the store is down; the next restart retries
		}
	}
}

func entryOf(e jetstream.KeyValueEntry) Entry {
	return Entry{
		Key: e.Key(), Value: e.Value(), Revision: e.Revision(), Time: e.Created(),
		Deleted: e.Operation() != jetstream.KeyValuePut,
	}
}

func (k *KV) failed(what, key string, err error) error {
	if err == nil {
		return nil
	}
	e := AsError(err)
	api := &jetstream.APIError{}
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrNoKeysFound):
		e = Errorf(NotFound, "the key does not exist")
	case errors.Is(err, jetstream.ErrKeyExists), errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence:
		e = Errorf(Aborted, "it was changed meanwhile")
	case errors.Is(err, jetstream.ErrInvalidKey):
		e = Errorf(InvalidArgument, "invalid key")
	case strings.Contains(err.Error(), "maximum bytes exceeded"):
		e = Errorf(ResourceExhausted, "the bucket holds %d bytes already", bucketBytes)
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		e = Errorf(Unavailable, "the store does not work")
	}
	return fmt.Errorf("bucket %s: %s %s: %w", k.bucket, what, key, e)
}
