package lab

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestFollower(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	folder := t.TempDir()
	f, err := follow(folder, "log")
	if err != nil {
		t.Fatal(err)
	}
	defer f.watch.Close()
	found := make(chan error)
	go func() { found <- f.await(ctx, "two\n") }()
	log, err := os.Create(filepath.Join(folder, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for _, part := range []string{"one\nt", "wo\nthree\none\n"} {
		if _, err := log.WriteString(part); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-found; err != nil {
		t.Fatal(err)
	}
	if err := f.await(ctx, "one\n"); err != nil {
		t.Fatalf("the one after two: %v", err)
	}
	done, cancelDone := context.WithCancel(ctx)
	cancelDone()
	if err := f.await(done, "one\n"); !errors.Is(err, context.Canceled) {
		t.Fatalf("an old text was found again, or: %v", err)
	}
	f.stop()
	if err := f.await(ctx, "never"); err == nil || ctx.Err() != nil {
		t.Fatalf("no end after the machine's end: %v", err)
	}
}
