package actors_test

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"gatewayd/actors"
	"gatewayd/actors/actorstest"
)

// A writer stores one message after the other. A reader that fails before it acknowledges the first
// ones gets them again in its next life.
func TestTrackToReader(t *testing.T) {
	const n = 20
	r := actorstest.New(t)
	reader := &structpb.Struct{}
	got := make(chan string, 10*n)
	writes := 0
	r.Start("tracks/a", scripted(func(c *actors.Context, msg any) error {
		switch m := msg.(type) {
		case actors.Started:
		case actors.Kept:
			if m.Err != nil || m.Tag != writes-1 {
				t.Errorf("%+v of write %d", m, writes)
			}
		default:
			return nil
		}
		if writes < n {
			c.Keep("records", "text/plain", []byte(fmt.Sprint(writes)), actors.Normal, writes)
			writes++
		}
		return nil
	}), &structpb.Struct{})
	reads := scripted(func(c *actors.Context, msg any) error {
		switch msg.(type) {
		case actors.Started:
			archive, life := c.Archive(), c.Life()
			c.Do(actorstest.Patience, func(ctx context.Context) (any, error) {
				place, err := archive.Reader(ctx, []string{"tracks/#"}, false)
				if err != nil {
					return nil, err
				}
				for {
					all, err := place.Next(ctx, 3)
					if err != nil {
						return nil, err
					}
					for _, m := range all {
						got <- m.Path + " " + string(m.Data)
					}
					if life == 1 {
						return nil, fmt.Errorf("dies with %d messages", len(all))
					}
					if err := place.Ack(all[len(all)-1].Seq); err != nil {
						return nil, err
					}
				}
			})
		case actors.Failed:
			if c.Life() == 1 {
				return fmt.Errorf("its first life ends")
			}
		}
		return nil
	})
	reads.Place = true
	r.Start("uplink/a", reads, reader)
	first := actorstest.Next(t, got)
	if first != "tracks/a 0" {
		t.Fatalf("read %q first", first)
	}
	actorstest.NextWhere(t, got, func(s string) bool { return s == "tracks/a 0" })
	for i := 1; i < n; i++ {
		if again := actorstest.Next(t, got); again != fmt.Sprintf("tracks/a %d", i) {
			t.Fatalf("read %q, want number %d", again, i)
		}
	}
}
