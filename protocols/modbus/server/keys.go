package server

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"time"
)

// keys holds the Files of a secure door. They are read again at the next handshake after a change.
type keys struct {
	files  Files
	log    *slog.Logger
	config *tls.Config // for connections; returns the latest for each handshake

	mu     sync.Mutex
	read   stamps // of the files latest was made from
	failed stamps // of files that could not be read, which has been logged
	latest *tls.Config
}

// stamps detect whether one of the three files was replaced or written to.
type stamps [3]struct {
	modified time.Time
	size     int64
}

func newKeys(f Files, log *slog.Logger) (*keys, error) {
	k := &keys{files: f, log: log, read: f.stamps()}
	var err error
	if k.latest, err = f.TLS(); err != nil {
		return nil, err
	}
	k.config = &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return k.now(), nil },
	}
	return k, nil
}

func (f Files) stamps() stamps {
	var s stamps
	for i, name := range []string{f.Certificate, f.Key, f.CA} {
		if info, err := os.Stat(name); err == nil {
			s[i].modified, s[i].size = info.ModTime(), info.Size()
		}
	}
	return s
}

// now returns the config for the current files. While they cannot be read, for instance between the
// writing of a certificate and that of its key, the previous config stays in use.
func (k *keys) now() *tls.Config {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.files.stamps()
	if s == k.read || s == k.failed {
		return k.latest
	}
	next, err := k.files.TLS()
	if err != nil {
		k.failed = s
		k.log.Warn("modbus: cannot read the changed certificates; the previous ones stay in use", "err", err)
		return k.latest
	}
	k.latest, k.read = next, s
	k.log.Info("modbus: certificates reloaded", "certificate", k.files.Certificate)
	return k.latest
}
