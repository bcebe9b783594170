package bus

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// serverLog forwards the server's log to slog. Notices become debug messages, because a healthy
// daemon logs nothing. A fatal error never ends the process; it is kept for Start to return.
type serverLog struct {
	log        *slog.Logger
	client     func(line string) // called for lines about clients
	mu         sync.Mutex
	fatal      error
	last       time.Time // time of the last logged line about a client
	suppressed int       // lines about clients suppressed since then
}

func (l *serverLog) at(level slog.Level, format string, v []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, oneLine(fmt.Sprintf(format, v...)))
	}
}

// trouble logs warnings and errors. A client's mistake is not an error of the gateway and is logged
// at most once a second: a client that can reach the port must not be able to fill the disk.
func (l *serverLog) trouble(level slog.Level, format string, v []any) {
	text := oneLine(fmt.Sprintf(format, v...))
	if !strings.Contains(text, " - cid:") { // format of the server's lines about a client, after its address
		l.log.Log(context.Background(), level, text)
		return
	}
	l.client(text)
	l.mu.Lock()
	if time.Since(l.last) < time.Second {
		l.suppressed++
		l.mu.Unlock()
		return
	}
	suppressed := l.suppressed
	l.last, l.suppressed = time.Now(), 0
	l.mu.Unlock()
	l.log.Info(text, "left_out", suppressed)
}

func (l *serverLog) Noticef(format string, v ...any) { l.at(slog.LevelDebug, format, v) }
func (l *serverLog) Tracef(format string, v ...any)  { l.at(slog.LevelDebug-8, format, v) }
func (l *serverLog) Warnf(format string, v ...any)   { l.trouble(slog.LevelWarn, format, v) }
func (l *serverLog) Errorf(format string, v ...any)  { l.trouble(slog.LevelError, format, v) }

// Debugf reports failed TLS handshakes at info level. The server logs them at debug level only,
// since port scanners cause them too.
func (l *serverLog) Debugf(format string, v ...any) {
	if strings.Contains(format, noTLS) {
		l.trouble(slog.LevelInfo, format, v)
		return
	}
	l.at(slog.LevelDebug-4, format, v)
}

// noTLS is the server's message for a failed TLS handshake.
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
