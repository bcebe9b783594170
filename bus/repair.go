package bus

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"gatewayd/protocols/durable"
)

// maxRepairs is the maximum number of repairs to the track stream in one start.
const maxRepairs = 16

// repair looks for damage that keeps the server from opening the track stream and that can be
// repaired without losing messages. It returns the repair, to be run while no server is running, or
// nil.
func (b *Bus) repair(s *server.Server, cfg Config, r *Report) func() {
	found, err := take(s)
	if err != nil || !slices.Contains(presentStreams(cfg.Dir), streamTracks) {
		return nil
	}
	if _, ok := found[streamTracks]; !ok && descriptionsDiffer(cfg.Dir) {
		return func() {
			if err := copyDescription(savedDescription(cfg.Dir), trackDescription(cfg.Dir)); err == nil {
				r.Notes = append(r.Notes, "the description of the tracks was unreadable and has been put back")
			}
		}
	}
	if reader := b.unsupportedReader(s); reader != "" {
		return func() { replaceReader(cfg.Dir, reader, r) }
	}
	return nil
}

// metaFiles are the files without which the server does not recognize a stream.
var metaFiles = [...]string{"meta.inf", "meta.sum"}

func trackDescription(dir string) string { return filepath.Join(streamsDir(dir), streamTracks) }
func savedDescription(dir string) string { return filepath.Join(dir, "tracks") }

// descriptionsDiffer reports whether there is a saved copy of the description that differs from the
// one in the store.
func descriptionsDiffer(dir string) bool {
	for _, name := range metaFiles {
		saved, err := os.ReadFile(filepath.Join(savedDescription(dir), name))
		if err != nil {
			return false
		}
		if there, err := os.ReadFile(filepath.Join(trackDescription(dir), name)); err != nil || !bytes.Equal(saved, there) {
			return true
		}
	}
	return false
}

func copyDescription(from, to string) error {
	var errs []error
	for _, name := range metaFiles {
		p, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = durable.Write(filepath.Join(to, name), p, 0o640)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// saveDescription keeps a copy of the description of the track stream: one wrong byte in the
// original would make all tracks unreadable. If the copy fails, on a full disk for instance, the
// next start tries again.
func (b *Bus) saveDescription() {
	from, to := trackDescription(b.cfg.Dir), savedDescription(b.cfg.Dir)
	err := os.MkdirAll(to, 0o755)
	if _, none := os.Stat(filepath.Join(to, metaFiles[0])); err == nil && (none != nil || descriptionsDiffer(b.cfg.Dir)) {
		err = copyDescription(from, to)
	}
	if err != nil {
		b.log.Warn("cannot copy the description of the tracks", "err", err)
	}
}

// unsupported matches the server's error for a stream that it does not open because of one of its
// consumers.
var unsupported = regexp.MustCompile(`unsupported consumer "([^"]+)"`)

// unsupportedReader returns the reader whose consumer state is so damaged that the server does not
// open the track stream; "" if there is none.
func (b *Bus) unsupportedReader(s *server.Server) (reader string) {
	me := b.ids[0]
	nc, err := nats.Connect("", nats.InProcessServer(s), nats.Nkey(me.public, me.pair.Sign), nats.CustomInboxPrefix(inboxGateway))
	if err != nil {
		return ""
	}
	defer nc.Close()
	answer, err := nc.Request("$JS.API.STREAM.INFO."+streamTracks, nil, flushTimeout)
	if err != nil {
		return ""
	}
	if m := unsupported.FindSubmatch(bytes.ReplaceAll(answer.Data, []byte(`\"`), []byte(`"`))); m != nil {
		return string(m[1])
	}
	return ""
}

// replaceReader moves the consumer state of a reader to the quarantine. The reader starts again
// with the oldest message and skips what it has seen.
func replaceReader(dir, reader string, r *Report) {
	from := filepath.Join(streamsDir(dir), streamTracks, "obs", filepath.Base(reader))
	r.Notes = append(r.Notes, fmt.Sprintf("the position of reader %s in the tracks was unreadable: it starts from the oldest record", reader))
	to := filepath.Join(dir, "quarantine", time.Now().UTC().Format("20060102T150405.000")+"-"+streamTracks+"-"+filepath.Base(reader))
	if os.MkdirAll(filepath.Dir(to), 0o755) != nil || os.Rename(from, to) != nil {
		_ = os.RemoveAll(from)
	}
	trim(filepath.Join(dir, "quarantine"))
}
