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
	"strconv"
	"strings"
	"sync"
	"time"

	"gatewayd/bus"
	"gatewayd/protocols/record"
)

const (
	storeFlag   = "--store"
	storeTime   = 6 * time.Second
	storeRate   = 60_000                // records offered per second on all tracks together
	storeFlush  = 50 * time.Millisecond // how long records of a track are gathered for a chunk
	storeFields = 3
)

// storeResult is the output of the writing process.
type storeResult struct {
	Records uint64
	Chunks  int
	Began   time.Time
	Took    time.Duration
	Wait    []time.Duration // per chunk, from being handed in to being on disk
}

// storeRates is the figure "store": records written to disk by tracks, and the syncs they cost. The
// writing process runs under strace, which stops it only at the calls that sync.
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
	cmd := exec.CommandContext(ctx, "strace", "-f", "-y", "-ttt", "--seccomp-bpf", "-qq", "-e", "trace=fsync,fdatasync,openat", "-o", calls, self, storeFlag, dir, fmt.Sprint(tracks))
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
	syncs, err := syncsIn(calls, filepath.Join(dir, "bus"), r.Began)
	if err != nil {
		return err
	}
	p50 := median(r.Wait)
	rate, perSecond := float64(r.Records)/r.Took.Seconds(), float64(syncs)/r.Took.Seconds()
	what := fmt.Sprintf("store, %d tracks of %d fields", tracks, storeFields)
	if tracks == 1 {
		what = fmt.Sprintf("store, a track of %d fields", storeFields)
	}
	b.say(row{Figure: what + ": records", Value: fmt.Sprintf("%.0f/s", rate), Limit: "≥ 50000/s"}.above(rate, 50_000))
	b.say(row{Figure: "  syncs, each O_SYNC file counted", Value: fmt.Sprintf("%.0f/s", perSecond), Limit: "≤ 50/s"}.below(perSecond, 50))
	each := rate / perSecond
	b.say(row{Figure: "  records per sync", Value: fmt.Sprintf("%.0f", each), Limit: "≥ 50"}.above(each, 50))
	b.say(row{
		Figure: "  from being handed in to being on disk, p50", Value: p50.Round(100 * time.Microsecond).String(), Limit: "≤ 20 ms",
		Note: fmt.Sprintf("%.0f records in a chunk; p99 %s", float64(r.Records)/float64(r.Chunks), quantile(r.Wait, 0.99).Round(100*time.Microsecond)),
	}.below(p50.Seconds(), 0.020))
	return nil
}

// syncsIn counts the calls that sync the disk below dir: fsync, fdatasync, and opening files for
// synchronous writing. Batches staged in memory are not on the disk. Calls before since belong to
// the start and are not counted.
func syncsIn(calls, dir string, since time.Time) (n int, err error) {
	f, err := os.Open(calls)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	memory, err := filepath.Glob(filepath.Join(dir, "*", "*", "streams", "*", "batches"))
	if err != nil {
		return 0, err
	}
	staged := len(memory) == 1 && isLink(memory[0])
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		switch {
		case before(line, since):
		case !strings.Contains(line, dir) || staged && strings.Contains(line, "/batches/") || strings.Contains(line, "resumed"):
		case strings.Contains(line, "sync("), strings.Contains(line, "openat(") && strings.Contains(line, "SYNC"):
			n++
		}
	}
	return n, nil
}

// before reports whether a line of strace, which begins with a thread and a time, is older than at.
func before(line string, at time.Time) bool {
	words := strings.Fields(line)
	if len(words) < 2 {
		return true
	}
	seconds, err := strconv.ParseFloat(words[1], 64)
	return err != nil || seconds < float64(at.UnixMilli())/1e3
}

func isLink(path string) bool {
	_, err := os.Readlink(path)
	return err == nil
}

// storeChild writes records as tracks do, and prints the result.
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
	all.Began = began
	for i := range tracks {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * storeFlush / time.Duration(tracks))
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

// storeTrack writes a chunk every storeFlush, or later if the previous chunk is not yet on disk.
func storeTrack(conn *bus.Conn, path string, rate int, began time.Time) (r storeResult) {
	subject := bus.Subject(gateway, bus.Track, path, "records")
	var last time.Time
	for done := make(chan error, 1); time.Since(began) < storeTime; {
		if wait := storeFlush - time.Since(last); wait > 0 {
			time.Sleep(wait)
		}
		last = time.Now()
		due := uint64(time.Since(began).Seconds() * float64(rate))
		n := min(int(due-r.Records), record.MaxChunk)
		if n == 0 {
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
