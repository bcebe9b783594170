package bus

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Staging. The server writes the messages of an atomic batch to files of their own first and syncs these and their directories, which is six
// of the seven syncs that a batch costs. All of that is for finishing a batch that a crash has interrupted. Nobody needs this here: who handed a
// message in looks for it, and hands it in again. So these files are in memory, where a sync costs nothing, if there is any file system in memory.

// memories are where one usually is.
var memories = [...]string{"/dev/shm", "/run"}

const tmpfs = 0x01021994 // statfs(2)

// stage has the server stage batches in memory, and sync nothing with a batch but the messages; false: it does not.
func (b *Bus) stage() bool {
	from := filepath.Join(streamsDir(b.cfg.Dir), streamTracks)
	_ = os.Remove(filepath.Join(from, "msgs", "index.db")) // it is not used at a start either, see dropIndexes
	for _, memory := range memories {
		to, err := stagingIn(memory, from)
		if err != nil {
			continue
		}
		link := filepath.Join(from, "batches")
		if at, err := os.Readlink(link); err != nil || at != to {
			_ = os.RemoveAll(link)
			if os.Symlink(to, link) != nil {
				continue
			}
			sweepStaging(memory, to, time.Now())
		}
		b.mu.Lock()
		b.staging = to
		b.mu.Unlock()
		return true
	}
	return false
}

// stagingIn makes a directory in memory for a stream that is kept in another directory.
func stagingIn(memory, stream string) (string, error) {
	var in syscall.Statfs_t
	if err := syscall.Statfs(memory, &in); err != nil || uint32(in.Type) != tmpfs {
		return "", fmt.Errorf("%s is not in memory", memory)
	}
	stream, err := filepath.Abs(stream)
	if err != nil {
		return "", err
	}
	name := sha256.Sum256([]byte(stream))
	dir := filepath.Join(memory, "gatewayd-"+hex.EncodeToString(name[:8]))
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return "", err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	if is, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || !ok || int(is.Uid) != os.Geteuid() || info.Mode().Perm() != 0o700 {
		return "", fmt.Errorf("%s is somebody else's", dir)
	}
	return dir, nil
}

// left is for how long a directory is not touched that nobody uses. Who does all the same makes it again with the next batch.
const left = time.Hour

// sweepStaging removes what processes have left that were killed.
func sweepStaging(memory, own string, now time.Time) {
	all, _ := filepath.Glob(filepath.Join(memory, "gatewayd-"+strings.Repeat("[0-9a-f]", 16)))
	for _, dir := range all {
		if info, err := os.Lstat(dir); dir != own && err == nil && info.IsDir() && now.Sub(info.ModTime()) > left {
			_ = os.RemoveAll(dir) // that of another user stays
		}
	}
}

// unstage removes what stage has made.
func (b *Bus) unstage() {
	b.mu.Lock()
	dir := b.staging
	b.mu.Unlock()
	if dir != "" {
		_ = os.RemoveAll(dir)
	}
}
