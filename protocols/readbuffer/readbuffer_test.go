package readbuffer_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"gatewayd/protocols/readbuffer"
)

func timers(t time.Time, wake func()) { time.AfterFunc(time.Until(t), wake) }

// wants calls Read once and compares the result.
func wants(t *testing.T, b *readbuffer.Buffer, want string, wantErr error) {
	t.Helper()
	p := make([]byte, 16)
	n, err := b.Read(p)
	if got := string(p[:n]); got != want || !errors.Is(err, wantErr) {
		t.Errorf("read %q, %v; want %q, %v", got, err, want, wantErr)
	}
}

func TestRead(t *testing.T) {
	b := readbuffer.New(8, timers)
	b.Append([]byte("ab"))
	b.Append([]byte("cd"))
	wants(t, b, "abcd", nil)
	b.Put([]byte("ef"))
	b.Put([]byte("gh"))
	wants(t, b, "ef", nil)
	wants(t, b, "gh", nil)
	b.Append([]byte("1234567"))
	b.Append([]byte("89")) // beyond the limit
	b.Append([]byte("8"))
	wants(t, b, "12345678", nil)
	b.Append([]byte("x"))
	b.Discard()
	b.Append([]byte("last"))
	b.End(io.EOF)
	b.End(io.ErrUnexpectedEOF)
	b.Append([]byte("late"))
	wants(t, b, "last", nil)
	wants(t, b, "", io.EOF)
	b.Close()
	wants(t, b, "", net.ErrClosed)
}

func TestCloseDropsWhatIsThere(t *testing.T) {
	b := readbuffer.New(0, timers)
	b.Append([]byte("x"))
	b.Close()
	wants(t, b, "", net.ErrClosed)
}

// A waiting Read ends at the current deadline, however often the deadline was moved before or
// meanwhile.
func TestDeadline(t *testing.T) {
	for name, moves := range map[string][]time.Duration{
		"set once":         {2 * time.Second},
		"moved earlier":    {5 * time.Second, 2 * time.Second},
		"moved later":      {time.Second, 2 * time.Second},
		"to and fro":       {3 * time.Second, time.Second, 2 * time.Second},
		"taken off, again": {time.Second, 0, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, begin := readbuffer.New(0, timers), time.Now()
				ended := make(chan error)
				go func() {
					_, err := b.Read(make([]byte, 1))
					ended <- err
				}()
				synctest.Wait()
				for _, d := range moves {
					if d == 0 {
						b.SetReadDeadline(time.Time{})
						continue
					}
					b.SetReadDeadline(begin.Add(d))
				}
				if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != 2*time.Second {
					t.Errorf("%v after %v", err, time.Since(begin))
				}
			})
		})
	}
}
