package server

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"time"
)

// keys are the Files of a secure door, read again when they have changed: at the next handshake.
type keys struct {
	files  Files
	log    *slog.Logger
	config *tls.Config // of connections; asks for the latest

	mu     sync.Mutex
	read   stamps // of what latest was made from
	failed stamps // of what could not be read; the log has it
	latest *tls.Config
}

// stamps tell whether one of three files is another one, or was written to.
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

// now is the config by the files as they are. While they cannot be read, which they cannot between the writing of a certificate and that
// of its key, it stays as it was.
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
		k.log.Warn("modbus: the certificates have changed and cannot be read; those of before stay in use", "err", err)
		return k.latest
	}
	k.latest, k.read = next, s
	k.log.Info("modbus: the certificates were read anew", "certificate", k.files.Certificate)
	return k.latest
}
