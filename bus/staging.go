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

// Staging. The server first writes the messages of an atomic batch to separate files and syncs them
// and their directories, which accounts for six of the seven syncs of a batch. Staging serves only
// to finish a batch that a crash has interrupted. That is not needed here: the writer looks for its
// message and writes it again. The staging files are therefore kept in memory, where a sync costs
// nothing, if an in-memory file system is available.

// memories are the usual mount points of in-memory file systems.
var memories = [...]string{"/dev/shm", "/run"}

const tmpfs = 0x01021994 // statfs(2)

// stage makes the server stage batches in memory, so that a batch costs one sync. It returns false
// if that is not possible.
func (b *Bus) stage() bool {
	from := filepath.Join(streamsDir(b.cfg.Dir), streamTracks)
	_ = os.Remove(filepath.Join(from, "msgs", "index.db")) // not used at a start either, see dropIndexes
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

// stagingIn creates an in-memory directory for the stream stored in the directory stream.
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
		return "", fmt.Errorf("%s belongs to another user or has other permissions than 0700", dir)
	}
	return dir, nil
}

// left is the time without changes after which a directory is considered unused. A process that
// still uses it recreates it with its next batch.
const left = time.Hour

// sweepStaging removes the directories of killed processes.
func sweepStaging(memory, own string, now time.Time) {
	all, _ := filepath.Glob(filepath.Join(memory, "gatewayd-"+strings.Repeat("[0-9a-f]", 16)))
	for _, dir := range all {
		if info, err := os.Lstat(dir); dir != own && err == nil && info.IsDir() && now.Sub(info.ModTime()) > left {
			_ = os.RemoveAll(dir) // directories of other users stay
		}
	}
}

// unstage removes the directory that stage created.
func (b *Bus) unstage() {
	b.mu.Lock()
	dir := b.staging
	b.mu.Unlock()
	if dir != "" {
		_ = os.RemoveAll(dir)
	}
}
