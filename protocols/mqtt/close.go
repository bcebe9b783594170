package mqtt

import (
	"context"
	"fmt"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Close stops accepting, ends all clients and waits for their goroutines until ctx ends. Then it
// closes the remaining connections and the store, and returns an error. It may be called repeatedly
// and from any goroutine, with the same effect.
func (s *Server) Close(ctx context.Context) error {
	s.once.Do(func() {
		s.closing.Store(true)
		go s.shutdown()
	})
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	left := s.guard.clients()
	for _, k := range left {
		k.abort()
	}
	select {
	case <-s.done:
		return nil
	case <-time.After(100 * time.Millisecond):
		s.letGo()
		return fmt.Errorf("mqtt broker on %v: %d clients did not end: %w", s.Addr(), len(left), ctx.Err())
	}
}

// letGo closes the store of an abandoned broker: the next broker will open it, and this one must
// not write to it any more. It waits at most storeTime for a disk that hangs.
func (s *Server) letGo() {
	if s.store == nil {
		return
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = s.store.Close()
	}()
	select {
	case <-closed:
	case <-time.After(storeTime):
		s.store.Abandon()
	}
}

func (s *Server) shutdown() {
	defer close(s.done)
	defer s.recovered("close")
	s.guard.shut()
	for _, k := range s.guard.clients() {
		if k.ready.Load() {
			s.hangUp(k.client, packets.ErrServerShuttingDown)
		} else {
			k.abort()
		}
	}
	s.wills.stop()
	_ = s.broker.Close()
	s.guard.serving.Wait()
	s.guard.flushers.Wait()
	close(s.stop)
	s.maintaining.Wait()
	if s.store != nil {
		if err := s.store.Close(); err != nil {
			s.cfg.Log.Error("mqtt: the store is not complete", "err", err)
		}
	}
}
