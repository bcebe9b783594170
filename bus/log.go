package bus

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// serverLog hands the server's log to slog: notices as debug, for a daemon that
// is well says nothing. A fatal error never ends the process; it is kept for Start to return.
type serverLog struct {
	log    *slog.Logger
	client func(line string) // hears of lines about clients
	mu     sync.Mutex
	fatal  error
	last   time.Time // of a line about a client
	hushed int       // lines about clients not logged since
}

func (l *serverLog) at(level slog.Level, format string, v []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, oneLine(fmt.Sprintf(format, v...)))
	}
}

// trouble logs warnings and errors. What a client did wrong is no error of the
// gateway, and is one line a second at most: whoever can reach the port must not be able to fill the disk.
func (l *serverLog) trouble(level slog.Level, format string, v []any) {
	text := oneLine(fmt.Sprintf(format, v...))
	if !strings.Contains(text, " - cid:") { // how the server's lines about a client begin, after its address
		l.log.Log(context.Background(), level, text)
		return
	}
	l.client(text)
	l.mu.Lock()
	if time.Since(l.last) < time.Second {
		l.hushed++
		l.mu.Unlock()
		return
	}
	hushed := l.hushed
	l.last, l.hushed = time.Now(), 0
	l.mu.Unlock()
	l.log.Info(text, "left_out", hushed)
}

func (l *serverLog) Noticef(format string, v ...any) { l.at(slog.LevelDebug, format, v) }
func (l *serverLog) Tracef(format string, v ...any)  { l.at(slog.LevelDebug-8, format, v) }
func (l *serverLog) Warnf(format string, v ...any)   { l.trouble(slog.LevelWarn, format, v) }
func (l *serverLog) Errorf(format string, v ...any)  { l.trouble(slog.LevelError, format, v) }

// Debugf hears of who speaks no TLS where it is asked for, of which the server thinks little: others knock at ports to see what is there.
func (l *serverLog) Debugf(format string, v ...any) {
	if strings.Contains(format, noTLS) {
		l.trouble(slog.LevelInfo, format, v)
		return
	}
	l.at(slog.LevelDebug-4, format, v)
}

// noTLS is what the server says of a handshake that was none.
const noTLS = "TLS handshake error"

func (l *serverLog) Fatalf(format string, v ...any) {
	l.at(slog.LevelError, format, v)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == nil {
		l.fatal = fmt.Errorf(format, v...)
	}
}

func (l *serverLog) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}
