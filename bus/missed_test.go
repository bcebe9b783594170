package bus

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"
)

// Messages that the server delivered to an abandoned fetch are delivered again: they must not be
// acknowledged together with later ones.
func TestWhatGoesAstrayIsDeliveredAgain(t *testing.T) {
	b, err := Start(Config{Gateway: "demo", Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	const n = 9
	for i := range n {
		done := make(chan error, 1)
		b.Conn().Keep(Subject("demo", Track, "tracks/a", "chunk"), JSON, fmt.Append(nil, i), Normal, func(_ uint64, err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	r, err := b.Conn().Reader(ctx, ReaderConfig{Name: "uplink/a"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for round := 0; len(got) < n; round++ {
		if round == 0 { // the first delivery, too
			if err := r.Rewind(ctx); err != nil {
				t.Fatal(err)
			}
		}
		consumer, err := b.js.Consumer(ctx, streamTracks, r.name)
		if err != nil {
			t.Fatal(err)
		}
		astray, err := consumer.FetchNoWait(1)
		if err != nil {
			t.Fatal(err)
		}
		for range astray.Messages() { // nobody reads it
		}
		all, err := r.Next(ctx, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			got = append(got, string(m.Data))
		}
		if err := r.Ack(all[len(all)-1].Seq); err != nil {
			t.Fatal(err)
		}
	}
	if all := fmt.Sprint(got); all != "[0 1 2 3 4 5 6 7 8]" {
		t.Errorf("read %s", all)
	}
}
