package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"gatewayd/protocols/record"
)

// account compares what the hub has with the ledgers, message by message.
func (f *party) account(b *bench) error {
	if err := os.WriteFile(filepath.Join(f.dir, "gw", "stop"), nil, 0o600); err != nil {
		return err
	}
	time.Sleep(2 * siteEvery) // until no gateway is in the middle of a record
	if err := f.catch(b, "at the end", time.Now()); err != nil {
		return err
	}
	var streams []string
	for part := range (len(f.ids) + f.shard - 1) / f.shard {
		streams = append(streams, sourceStream(part))
	}
	for _, way := range []struct {
		name    string
		streams []string
		number  func(m jetstream.Msg) (uint64, error)
	}{
		{"sourced", streams, chunkNumber},
		{"by uplink-nats", []string{"SITES"}, jsonNumber},
	} {
		found, err := f.read(way.streams, way.number)
		if err != nil {
			return err
		}
		lost, double, reordered, all := f.judge(found)
		b.say(row{
			Figure: "records " + way.name + ": lost, twice, out of order", Value: fmt.Sprintf("%d, %d, %d", lost, double, reordered), Limit: "0, 0, 0", Note: fmt.Sprintf("of %d that the stores had acknowledged", all),
		}.below(float64(lost+double+reordered), 0))
	}
	return nil
}

func (f *party) judge(found map[string][]uint64) (lost, double, reordered, all int) {
	for _, id := range f.ids {
		n, err := acknowledged(filepath.Join(f.dir, "gw", id))
		if err != nil {
			return -1, -1, -1, -1
		}
		all += int(n)
		seen, last := map[uint64]bool{}, uint64(0)
		for _, k := range found[id] {
			switch {
			case seen[k]:
				double++
			case k < last:
				reordered++
			}
			seen[k], last = true, max(last, k)
		}
		for k := uint64(1); k <= n; k++ {
			if !seen[k] {
				lost++
			}
		}
	}
	return lost, double, reordered, all
}

// read returns the numbers of all records in streams, by gateway.
func (f *party) read(streams []string, number func(m jetstream.Msg) (uint64, error)) (map[string][]uint64, error) {
	js, err := jetstream.New(f.admin)
	if err != nil {
		return nil, err
	}
	found := map[string][]uint64{}
	for _, name := range streams {
		var err error
		for range 10 { // servers that have just come back may still elect leaders
			one := map[string][]uint64{}
			if err = f.readOne(js, name, one, number); err == nil {
				for id, all := range one {
					found[id] = append(found[id], all...)
				}
				break
			}
			time.Sleep(2 * time.Second)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("nothing is in %v", streams)
	}
	return found, nil
}

// readOne reads a stream from its first message to its last.
func (f *party) readOne(js jetstream.JetStream, name string, found map[string][]uint64, number func(m jetstream.Msg) (uint64, error)) error {
	s, err := js.Stream(f.ctx, name)
	if err != nil {
		return err
	}
	c, err := s.OrderedConsumer(f.ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	for left := s.CachedInfo().State.Msgs; left > 0; {
		batch, err := c.Fetch(int(min(left, 500)), jetstream.FetchMaxWait(10*time.Second))
		if err != nil {
			return err
		}
		got := uint64(0)
		for m := range batch.Messages() {
			n, err := number(m)
			if err != nil {
				return err
			}
			id := strings.Split(m.Subject(), ".")[1]
			found[id] = append(found[id], n)
			got++
		}
		if got == 0 {
			return fmt.Errorf("stream %s: %d messages cannot be read: %w", name, left, batch.Error())
		}
		left -= got
	}
	return nil
}

func chunkNumber(m jetstream.Msg) (uint64, error) {
	c, err := record.Decode(siteTrack, m.Data())
	if err != nil {
		return 0, err
	}
	return c.First, nil
}

func jsonNumber(m jetstream.Msg) (uint64, error) {
	var r struct{ Sequence uint64 }
	return r.Sequence, json.Unmarshal(m.Data(), &r)
}
