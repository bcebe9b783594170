package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"gatewayd/bus"
	"gatewayd/protocols/record"
)

const (
	storeFlag   = "--store"
	storeTime   = 6 * time.Second
	storeRate   = 60_000 // records offered per second by all tracks together
	storeFields = 3
)

// storeResult is what the process says that writes.
type storeResult struct {
	Records uint64
	Chunks  int
	Took    time.Duration
	Wait    []time.Duration // of chunks, from being handed in to being on disk
}

// storeRates is the figure of the store: records that tracks bring to disk, and the syncs that costs. The process that writes runs
// under strace, which is stopped at nothing but the calls that sync.
func storeRates(ctx context.Context, b *bench) error {
	for _, tracks := range []int{1, 20} {
		if err := storeRate1(ctx, b, tracks); err != nil {
			return err
		}
	}
	return nil
}

func storeRate1(ctx context.Context, b *bench, tracks int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir := filepath.Join(b.dir, fmt.Sprint(tracks))
	calls := filepath.Join(b.dir, fmt.Sprint("calls", tracks))
	cmd := exec.CommandContext(ctx, "strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=fsync,fdatasync,openat", "-o", calls, self, storeFlag, dir, fmt.Sprint(tracks))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return errors.New("strace is missing: apt-get install -y strace")
	}
	if err != nil {
		return err
	}
	var r storeResult
	if err := json.Unmarshal(out, &r); err != nil {
		return err
	}
	syncs, err := syncsIn(calls, filepath.Join(dir, "bus"))
	if err != nil {
		return err
	}
	slices.Sort(r.Wait)
	p50 := r.Wait[len(r.Wait)/2]
	rate, perSecond := float64(r.Records)/r.Took.Seconds(), float64(syncs)/r.Took.Seconds()
	what := fmt.Sprintf("store, %d tracks of %d fields", tracks, storeFields)
	if tracks == 1 {
		what = fmt.Sprintf("store, a track of %d fields", storeFields)
	}
	b.say(row{Figure: what + ": records", Value: fmt.Sprintf("%.0f/s", rate), Limit: "≥ 50000/s"}.above(rate, 50_000))
	b.say(row{Figure: "  syncs, each O_SYNC file counted", Value: fmt.Sprintf("%.0f/s", perSecond), Limit: "≤ 50/s"}.below(perSecond, 50))
	each := rate / perSecond
	b.say(row{
		Figure: "  records per sync", Value: fmt.Sprintf("%.0f", each), Limit: "≥ 50",
		Note: fmt.Sprintf("half of the chunks (%.0f records) are on disk %s after they were handed in", float64(r.Records)/float64(r.Chunks), p50.Round(time.Millisecond)),
	}.above(each, 50))
	return nil
}

// syncsIn counts what makes the disk sync: fsync, fdatasync, and files that are opened to be written in sync.
func syncsIn(calls, dir string) (n int, err error) {
	f, err := os.Open(calls)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		switch {
		case strings.Contains(line, "sync(") && !strings.Contains(line, "resumed"), strings.Contains(line, "openat(") && strings.Contains(line, dir) && strings.Contains(line, "SYNC"):
			n++
		}
	}
	return n, nil
}

// storeChild writes records as tracks do, and says what came of it.
func storeChild(dir string, tracks int) error {
	b, err := bus.Start(bus.Config{Gateway: gateway, Dir: filepath.Join(dir, "bus"), MaxTracks: 256 << 20, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer b.Close()
	var (
		mu  sync.Mutex
		all storeResult
		wg  sync.WaitGroup
	)
	began := time.Now()
	for i := range tracks {
		wg.Go(func() {
			one := storeTrack(b.Conn(), fmt.Sprintf("tracks/t%d", i), storeRate/tracks, began)
			mu.Lock()
			defer mu.Unlock()
			all.Records, all.Chunks, all.Wait = all.Records+one.Records, all.Chunks+one.Chunks, append(all.Wait, one.Wait...)
		})
	}
	wg.Wait()
	all.Took = time.Since(began)
	return json.NewEncoder(os.Stdout).Encode(all)
}

// storeTrack writes what has come up since the last chunk, as soon as that is on disk.
func storeTrack(conn *bus.Conn, path string, rate int, began time.Time) (r storeResult) {
	subject := bus.Subject(gateway, bus.Track, path, "records")
	for done := make(chan error, 1); time.Since(began) < storeTime; {
		due := uint64(time.Since(began).Seconds() * float64(rate))
		n := min(int(due-r.Records), record.MaxChunk)
		if n == 0 {
			time.Sleep(time.Millisecond)
			continue
		}
		payload, err := record.Encode(storeChunk(r.Records+1, n))
		if err != nil {
			panic(err)
		}
		handed := time.Now()
		conn.Keep(subject, record.ChunkType, payload, bus.Normal, func(_ uint64, err error) { done <- err })
		if err := <-done; err != nil {
			fmt.Fprintln(os.Stderr, path, err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		r.Wait = append(r.Wait, time.Since(handed))
		r.Records += uint64(n)
		r.Chunks++
	}
	return r
}

func storeChunk(first uint64, n int) *record.Chunk {
	c := &record.Chunk{Number: 1, First: first, Count: uint64(n), Boot: "0f8fad5b-d9cb-469f-a165-70867728950e"}
	for i := range n {
		s := first + uint64(i)
		r := record.Record{Sequence: s, Boot: c.Boot, Time: time.Unix(1_780_000_000, int64(s)*16_666), Uptime: time.Duration(s) * 16_666, Trusted: true}
		for f := range storeFields {
			r.Fields = append(r.Fields, record.Field{Name: fmt.Sprint("field-", f), ID: uint32(f + 1), Unit: "kW", Value: float64(s) / 7})
		}
		c.Records = append(c.Records, r)
	}
	return c
}
