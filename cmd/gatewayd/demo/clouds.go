package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"gatewayd/protocols/mdi"
	"gatewayd/protocols/record"
)

// clouds are the far ends of the demo's uplinks, in this process: a web service that takes JSON and
// is always there, and a receiver of the compact protocol whose link is cut now and then. Both
// accept everything and store nothing.
type clouds struct {
	web, archive string // host:port

	stop context.CancelFunc
	done sync.WaitGroup
}

// Times for cuts of the link to the archive. The first one comes soon, so that a visitor sees it.
const (
	cutSoon  = 5 * time.Second
	cutLater = time.Minute
	cutFor   = 30 * time.Second
)

// startClouds starts the far ends; cuts selects whether the link to the archive is cut.
func startClouds(cuts bool) (*clouds, error) {
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("the simulated web service: %w", err)
	}
	archive, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		_ = web.Close()
		return nil, fmt.Errorf("the simulated archive: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &clouds{web: web.Addr().String(), archive: archive.Addr().String(), stop: cancel}
	s := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	})}
	c.done.Go(func() { _ = s.Serve(web) })
	c.done.Go(func() {
		<-ctx.Done()
		_ = s.Close()
	})
	c.done.Go(func() { c.come(ctx, archive, cuts) })
	return c, nil
}

func (c *clouds) close() {
	c.stop()
	c.done.Wait()
}

// come serves the archive, with cuts if wanted, until ctx ends.
func (c *clouds) come(ctx context.Context, l net.Listener, cuts bool) {
	sink := mdi.NewSink(mdi.SinkConfig{Window: 8, Take: func(string, []record.Record) (map[int]string, error) { return nil, nil }})
	for there := cutSoon; ctx.Err() == nil; there = cutLater {
		serving, cut := ctx, func() {}
		if cuts {
			serving, cut = context.WithTimeout(ctx, there)
		}
		err := sink.Serve(serving, l)
		cut()
		if err != nil && !errors.Is(err, net.ErrClosed) {
			return
		}
		for again := cutFor; ; again = time.Second {
			select {
			case <-ctx.Done():
				return
			case <-time.After(again):
			}
			if l, err = net.Listen("tcp", c.archive); err == nil {
				break
			} // the port has been taken by another process meanwhile
		}
	}
}
